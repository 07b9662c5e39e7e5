"""What a browser's form sends: texts and pictures by name."""

import re
from urllib.parse import parse_qsl

from agent.sandbox.model import DEPICTIONS, Json

_NAME = re.compile(rb'[; ]name="([^"]*)"')


def fields(content_type: str, content: bytes) -> tuple[Json, dict[str, bytes]]:
    """Texts and files of a form, multipart as our page sends it or urlencoded as a script would."""
    kind, _, rest = content_type.partition(";")
    if kind.strip().lower() != "multipart/form-data":
        return dict(parse_qsl(content.decode("latin-1"))), {}
    match = re.search(r'boundary="?([^";]+)"?', rest)
    boundary = b"\r\n--" + (match[1] if match else "").encode()
    texts: Json = {}
    files: dict[str, bytes] = {}
    for part in (b"\r\n" + content).split(boundary)[1:-1]:
        head, _, value = part.partition(b"\r\n\r\n")
        name = _NAME.search(head)
        key = name[1].decode("utf-8", "replace") if name else ""
        if key in DEPICTIONS and value:
            files[key] = value
        elif key not in DEPICTIONS:
            texts[key] = value.decode("utf-8", "replace")
    return texts, files
