"""Builders: request files and small valid pictures."""

import io
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, PngImagePlugin

PASSPORT = 137  # one page
IDENTITY_CARD = 9001  # two pages, in the sandbox's table


@cache
def jpeg(marker: str = "") -> bytes:
    """A small jpg; the marker, such as `sandbox-outcome=rejected`, stands in its comment."""
    content = io.BytesIO()
    Image.new("L", (8, 8)).save(content, "JPEG", comment=marker.encode())
    return content.getvalue()


@cache
def png(marker: str = "") -> bytes:
    """A small png with the marker in its text."""
    content = io.BytesIO()
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", marker)
    Image.new("L", (8, 8)).save(content, "PNG", pnginfo=text)
    return content.getvalue()


def write(path: Path, content: str | bytes) -> Path:
    """A file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def upload(name: str, images: dict[str, str], **more: Any) -> str:
    """A request of use case 2. `more`: document_id, read_back, labels, annotations; all else goes into the spec."""
    return _request(name, more, _upload(images, more))


def capture(name: str, **more: Any) -> str:
    """A request of use case 1. `more`: the fields of spec.capture as `capture`; all else goes into the spec."""
    return _request(name, more, {"capture": {"redirectUrl": "https://shop.example/done"} | more.pop("capture", {})})


def _upload(images: dict[str, str], more: dict[str, Any]) -> dict[str, Any]:
    section = {"documentId": more.pop("document_id", PASSPORT), "images": images}
    if "read_back" in more:
        section["readBack"] = more.pop("read_back")
    return {"upload": section}


def _request(name: str, more: dict[str, Any], section: dict[str, Any]) -> str:
    metadata = {"name": name} | {key: more.pop(key) for key in ("labels", "annotations") if key in more}
    spec = {"processType": "document"} | section | more
    document = {
        "apiVersion": "assure-agent/v1",
        "kind": "VerificationRequest",
        "metadata": metadata,
        "spec": spec,
    }
    text: str = yaml.safe_dump(document, sort_keys=False)
    return text
