"""Request files to test with."""

from pathlib import Path

JPEG = b"\xff\xd8\xff\xe0\x00\x0ca specimen\xff\xdathe picture\xff\xd9"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" + b"a specimen" + b"\x00\x00\x00\x00IEND\xaeB`\x82"

UPLOAD = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata:
  name: NAME
  labels: {team: onboarding}
spec:
  processType: document
  upload:
    documentId: 137
    images:
      front: NAME/front.jpg
"""

CAPTURE = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata: {name: NAME}
spec:
  processType: documentSelfie
  capture: {redirectUrl: "https://shop.example/verified"}
"""


def upload(name: str = "customer-1") -> str:
    """A valid upload request of this name."""
    return UPLOAD.replace("NAME", name)


def capture(name: str = "customer-2") -> str:
    """A valid capture request of this name."""
    return CAPTURE.replace("NAME", name)


def write(path: Path, text: str | bytes) -> Path:
    """Write a file, and create the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path
