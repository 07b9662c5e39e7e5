"""Unmistakable values, and a search for them in any output: plain, encoded, compressed."""

import base64
import contextlib
import gzip
import json
import zlib
from collections.abc import Iterable
from urllib.parse import quote

from agent.sandbox import CANARIES

PERSONAL = CANARIES
"""Personal values in answers of Assure: only `claims` and `describe --show-personal` may print them."""

PICTURE = "Picture-Canary-of-a-passport"
"""In the bytes of every image."""

OURS = ("canary-person", "Label-Canary", "Redirect-Canary", "Author-Canary")
"""Names and labels in request files: only two tables of the store and the operator's commands may show them."""


def leaks(written: bytes, values: Iterable[str]) -> list[str]:
    """The values that are in these bytes, in any spelling."""
    texts = [written, *_unpacked(written)]
    return [value for value in values if any(trace in text for trace in _traces(value) for text in texts)]


def _traces(value: str) -> set[bytes]:
    plain = value.encode()
    traces = {plain, plain.lower(), plain.upper(), plain[::-1], plain.hex().encode(), plain.hex().upper().encode()}
    traces |= {
        value.encode("utf-16-le"),
        value.encode("utf-16-be"),
        quote(value).encode(),
        json.dumps(value)[1:-1].encode(),
    }
    for shift in range(3):  # base64 of a longer text that has it inside, wherever that begins
        inner = base64.b64encode(b"\0" * shift + plain)
        traces.add(inner[4 if shift else 0 : -4])
        traces.add(base64.urlsafe_b64encode(b"\0" * shift + plain)[4 if shift else 0 : -4])
    return traces


def _unpacked(written: bytes) -> list[bytes]:
    """The content of each compressed part."""
    found = []
    for magic, unpack in ((b"\x1f\x8b\x08", gzip.decompress), (b"\x78\x9c", zlib.decompress)):
        if written.startswith(magic):
            with contextlib.suppress(OSError, EOFError, zlib.error):
                found.append(unpack(written))
    return found
