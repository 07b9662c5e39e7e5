"""The bodies and queries of requests. They contain documented fields only, and no empty ones."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from math import ceil
from typing import Final
from urllib.parse import urlencode

import orjson
from pybase64 import b64encode

from agent.assure.http.messages import Body, Pieces
from agent.core.assure_types import PROVIDER, CaptureOptions, Depiction, ProcessType, Status
from agent.ports import Image

_PIECE: Final = 96 * 1024  # bytes of an image; a multiple of three, so that only the last piece is padded
_WHOLE: Final = 128 * 1024  # bytes of a body that is built at once: a connection writes it together with the head


def new_dossier(reference: str) -> bytes:
    """The body of create dossier (contract §4)."""
    return orjson.dumps({"externalReference": reference})


def new_process(process_type: ProcessType, document_id: int) -> bytes:
    """The body of create process (§6)."""
    return orjson.dumps({"provider": PROVIDER, "processType": process_type, "documentId": document_id})


def new_images(images: Mapping[Depiction, Image]) -> Body:
    """The body of set images: data URLs (§7). Written as bytes, for nothing in it needs to be escaped.

    A large body is encoded piece by piece while it is sent: an upload then holds little more than its images.
    """
    starts = [
        b'"%b":"data:%b;base64,' % (depiction.value.encode(), image.media_type.encode())
        for depiction, image in images.items()
    ]
    contents = [image.content for image in images.values()]
    encoded = sum(4 * ceil(len(content) / 3) for content in contents)
    length = len(b"{") + sum(map(len, starts)) + encoded + len(b'",') * len(starts)
    produce = partial(_image_pieces, starts, contents)
    return b"".join(produce()) if length <= _WHOLE else Pieces(length, produce)


def _image_pieces(starts: Sequence[bytes], contents: Sequence[bytes]) -> Iterator[bytes]:
    before = b"{"
    for start, content in zip(starts, contents, strict=True):
        yield before + start
        view = memoryview(content)
        for at in range(0, len(content), _PIECE):
            yield b64encode(view[at : at + _PIECE])
        before = b'",'
    yield b'"}'


def new_capture(options: CaptureOptions) -> bytes:
    """The body of capture (§10); what was not asked for is absent."""
    parameters = {
        "uiProfile": options.ui_profile,
        "uiLanguage": options.language,
        "defaultCountry": options.default_country,
    }
    body = {
        "providers": [{"provider": PROVIDER, "processType": options.process_type}],
        "sdk": "capture",
        "redirectUrl": options.redirect_url,
        "requestDomain": options.request_domain,
        "captureParameters": {key: value for key, value in parameters.items() if value is not None} or None,
    }
    return orjson.dumps({key: value for key, value in body.items() if value is not None})


def process_query(since: float, statuses: tuple[Status, ...], offset: int, limit: int) -> str:
    """The query of GET processes; `since` is cut to whole seconds, so that nothing is missed (§9)."""
    start = datetime.fromtimestamp(since // 1, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    fields = [("startCreationDate", start), *(("status", status.value) for status in statuses)]
    return urlencode([*fields, ("offset", str(offset)), ("limit", str(limit))])
