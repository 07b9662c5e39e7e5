"""The bodies and queries of requests. They contain documented fields only, and no empty ones."""

from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import urlencode

import orjson
from pybase64 import b64encode

from agent.core.assure_types import PROVIDER, CaptureOptions, Depiction, ProcessType, Status
from agent.ports import Image


def new_dossier(reference: str) -> bytes:
    """The body of create dossier (contract §4)."""
    return orjson.dumps({"externalReference": reference})


def new_process(process_type: ProcessType, document_id: int) -> bytes:
    """The body of create process (§6)."""
    return orjson.dumps({"provider": PROVIDER, "processType": process_type, "documentId": document_id})


def new_images(images: Mapping[Depiction, Image]) -> bytes:
    """The body of set images: data URLs (§7). Written as bytes, for nothing in it needs to be escaped."""
    fields = (
        b'"%b":"data:%b;base64,%b"' % (depiction.value.encode(), image.media_type.encode(), b64encode(image.content))
        for depiction, image in images.items()
    )
    return b"{" + b",".join(fields) + b"}"


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
