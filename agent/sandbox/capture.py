"""The capture page: what a person sees who opens a link (contract §10). Plain forms, no script, nothing from outside.

At Assure a link ends in `#/artifact=<token>`, and a script reads it; a fragment never reaches a server, so ours is
`/assure/capture/<token>`. The page lets the person choose how the simulated verification ends.
"""

import base64
import hashlib
import re
from html import escape
from urllib.parse import parse_qsl, urlsplit

from starlette.responses import Response

from agent.sandbox import checks
from agent.sandbox.config import OUTCOMES
from agent.sandbox.model import DEPICTIONS, AssureError, Capture, Image, Json
from agent.sandbox.world import World

_STYLE = (
    "body{font:1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem}"
    "strong{color:#a40}label{display:block;margin:1rem 0}button{font:inherit;padding:.4rem 1.2rem}"
)
_STYLE_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_FRAME = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Simulated capture</title><style>{style}</style></head>
<body><h1>Simulated capture</h1>
<p><strong>This is a simulator, not Signicat. Never give it a real identity document.</strong></p>
{main}
</body></html>
"""
_FORM = """<p>Somebody asks you for <b>{process_type}</b>. Pictures are optional; we draw what is missing.</p>
<form method="post" enctype="multipart/form-data">
{files}
<label>How the verification ends <select name="outcome">{options}</select></label>
<button name="action" value="done">Done</button> <button name="action" value="cancel">Cancel</button>
</form>"""
_NAME = re.compile(rb'[; ]name="([^"]*)"')


def page(world: World, token: str) -> Response:
    """The form, or why there is none. Opening the link may create the process (`capture_process`)."""
    try:
        capture = world.flows.open(token)
    except AssureError:
        return _over()
    return _html(200, _form(world, capture), form_action=f"'self' {_origin(capture.redirect_url)}")


def submit(world: World, token: str, content_type: str, content: bytes) -> Response:
    """Done or Cancel: the process goes on, and the person is sent to redirectUrl."""
    try:
        world.flows.open(token)
        texts, files = _fields(content_type, content)
        if texts.get("action") == "cancel":
            return _leave(world.flows.finish(token, {}, "canceled"))
        chosen = texts.get("outcome", "")
        images = {name: _picture(name, file, world) for name, file in files.items()}
        return _leave(world.flows.finish(token, images, chosen if chosen in OUTCOMES else None))
    except AssureError as refusal:
        if refusal.status == 404:
            return _over()
        return _html(refusal.status, f"<p>{escape(refusal.detail)} Go back and try again.</p>")


def _picture(name: str, content: bytes, world: World) -> Image:
    """An uploaded file, under the same rules as a direct upload."""
    kind = checks.media_type(content) or "application/octet-stream"
    url = f"data:{kind};base64,{base64.b64encode(content).decode()}"
    return checks.image(name, url, world.config)


def _form(world: World, capture: Capture) -> str:
    process = world.processes.get(capture.process_id or "")
    files = [
        f'<label>{name} <input type="file" name="{name}" accept="image/jpeg,image/png"></label>'
        for name in (process.needed if process else ())
    ]
    options = ['<option value="">as the picture, the profile or chance says</option>']
    options += [f'<option value="{word}">{word}</option>' for word in OUTCOMES]
    return _FORM.format(process_type=escape(capture.process_type), files="\n".join(files), options="".join(options))


def _over() -> Response:
    # The status and a link's single use are choices: the contract does not know them (§10).
    return _html(404, "<p>This link is unknown, was used already, or its request is over.</p>")


def _leave(url: str) -> Response:
    return Response(status_code=303, headers={"location": url, "cache-control": "no-store"})


def _html(status: int, main: str, form_action: str = "'none'") -> Response:
    # Browsers hold a redirect after a form to form-action too, so the way back must be in it.
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_DIGEST}'; form-action {form_action}; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    headers = {
        "content-security-policy": policy,
        "cache-control": "no-store",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    return Response(_FRAME.format(style=_STYLE, main=main), status, headers, media_type="text/html")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _fields(content_type: str, content: bytes) -> tuple[Json, dict[str, bytes]]:
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
