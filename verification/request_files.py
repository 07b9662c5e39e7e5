"""Request files and pictures, as a user writes them. JSON is valid YAML, and a picture of 8 x 8 is valid."""

import base64
import json
from pathlib import Path
from typing import Any

_JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/"
    "wAALCAAIAAgBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAAAAf/xAAUEAEAAAAAAAAAAAAAAAAAAAAA/9oACAEBAAA/AJ+f/9k="
)
PASSPORT, IDENTITY_CARD = 137, 9001  # one page, two pages, in the sandbox's table


def picture(marker: str = "") -> bytes:
    """A small jpg. Its comment contains the marker, such as `sandbox-outcome=rejected`."""
    comment = marker.encode()
    return _JPEG[:2] + b"\xff\xfe" + (len(comment) + 2).to_bytes(2, "big") + comment + _JPEG[2:]


def request(name: str, spec: dict[str, Any], annotations: dict[str, str] | None = None) -> bytes:
    """A request file."""
    metadata = {"name": name} | ({"annotations": annotations} if annotations else {})
    document = {"apiVersion": "assure-agent/v1", "kind": "VerificationRequest", "metadata": metadata, "spec": spec}
    return json.dumps(document).encode()


def write_file(path: Path, content: bytes) -> Path:
    """Write a file atomically: a temporary file in the same folder, then a rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name("." + path.name)
    temporary.write_bytes(content)
    return temporary.replace(path)


def upload_request(folder: Path, name: str, marker: str = "", *, back: bool = False, **spec: Any) -> dict[str, Any]:
    """Write the pictures of an upload request and return its spec. `document_id` and `read_back` go into `upload`."""
    shots = ("front", *(("back",) if back else ()), *(("selfie",) if spec.get("processType") else ()))
    for shot in shots:
        write_file(folder / "images" / name / f"{shot}.jpg", picture(marker if shot == "front" else shot))
    upload: dict[str, Any] = {"images": {shot: f"{name}/{shot}.jpg" for shot in shots}}
    if "document_type" in spec:
        upload["documentType"] = spec.pop("document_type")
    else:
        upload["documentId"] = spec.pop("document_id", PASSPORT)
    if spec.pop("read_back", False):
        upload["readBack"] = True
    return {"processType": "document", **spec, "upload": upload}


def capture_request(wish: str = "", **spec: Any) -> dict[str, Any]:
    """The spec of a capture request. `wish` is the outcome that the simulated end user causes."""
    profile = {"uiProfile": f"sandbox-outcome-{wish}"} if wish else {}
    return {"processType": "document", **spec, "capture": {"redirectUrl": "https://shop.example/done", **profile}}
