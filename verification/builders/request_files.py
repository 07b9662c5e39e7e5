"""Request files as text, their specs, and files on disk.

The keywords `document_id`, `document_type` and `read_back` are fields of `upload`. `labels` and `annotations` belong to
the metadata. All other keywords are fields of the spec.
"""

from pathlib import Path
from typing import Any

import yaml

from verification.builders.pictures import jpeg

PASSPORT, IDENTITY_CARD = 137, 9001  # one page, two pages, in the document types of the sandbox


def upload(name: str, images: dict[str, str] | None = None, **fields: Any) -> str:
    """A request of use case 2. Without images it has the front `NAME/front.jpg`."""
    metadata = _metadata(fields)
    return request_file(name, upload_spec(images or {"front": f"{name}/front.jpg"}, **fields), **metadata)


def capture(name: str, **fields: Any) -> str:
    """A request of use case 1."""
    metadata = _metadata(fields)
    return request_file(name, capture_spec(**fields), **metadata)


def request_file(name: str, spec: dict[str, Any], **metadata: dict[str, str]) -> str:
    """The text of a request with this spec."""
    document = {
        "apiVersion": "assure-agent/v1",
        "kind": "VerificationRequest",
        "metadata": {"name": name} | {key: value for key, value in metadata.items() if value},
        "spec": spec,
    }
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text


def upload_spec(images: dict[str, str], **fields: Any) -> dict[str, Any]:
    """The spec of an upload of these images."""
    if "document_type" in fields:
        section = {"documentType": fields.pop("document_type")}
    else:
        section = {"documentId": fields.pop("document_id", PASSPORT)}
    section["images"] = images
    if "read_back" in fields:
        section["readBack"] = fields.pop("read_back")
    return {"processType": "document", "upload": section} | fields


def capture_spec(outcome: str = "", **fields: Any) -> dict[str, Any]:
    """The spec of a capture, with an outcome for the sandbox. The keyword `capture` adds fields to its section."""
    profile = {"uiProfile": f"sandbox-outcome-{outcome}"} if outcome else {}
    section = {"redirectUrl": "https://shop.example/done"} | profile | fields.pop("capture", {})
    return {"processType": "document", "capture": section} | fields


def write_pictures(
    images: Path, name: str, marker: str = "", *, back: bool = False, selfie: bool = False
) -> dict[str, str]:
    """Write `NAME/front.jpg`, with the marker, and the other pictures; returns the images of an upload."""
    markers = {"front": marker} | ({"back": "the back"} if back else {}) | ({"selfie": "the selfie"} if selfie else {})
    for depiction, comment in markers.items():
        write_atomically(images / name / f"{depiction}.jpg", jpeg(comment))
    return {depiction: f"{name}/{depiction}.jpg" for depiction in markers}


def write(path: Path, content: str | bytes) -> Path:
    """Write a file and create the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Write a file next to its path and rename it, as a careful program does."""
    return write(path.with_name("." + path.name), content).replace(path)


def _metadata(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the metadata out of the keywords."""
    return {key: fields.pop(key) for key in ("labels", "annotations") if key in fields}
