"""The capture page that the end user sees behind a link (contract §10). It has one step per page and works without
scripts.

A link is `/assure/capture/#/artifact=<token>`, as at Assure. A browser never sends a fragment to a server. A script at
that address therefore redirects to `/assure/capture/<token>`, and each step is an address below it. Without a script
the end user pastes the link into a form. Pictures become images of the process, as in a direct upload.

A real page has no specimens, and no choice of the simulated outcome on its last step. Texts are in English for every
`uiLanguage`: a choice.

    GET  /assure/capture/   redirect to the link's flow
    GET  link               the welcome                  POST link               submit or cancel, then redirectUrl
    GET  link/STEP          one step (see `steps`)       POST link/STEP          its answer, then the next step
    GET  link/STEP/picture  the stored picture
"""

import base64
import re
from urllib.parse import urlsplit

from starlette.responses import Response

from agent.sandbox import validation
from agent.sandbox.capture import specimen, steps
from agent.sandbox.capture.form import fields
from agent.sandbox.capture.pages import render
from agent.sandbox.config import OUTCOMES
from agent.sandbox.model import DEPICTIONS, AssureError, Capture, Image, Json, Process, bad_request
from agent.sandbox.world import World

START = "/assure/capture/"
PATH = START + "{token:artifact}"
_ARTIFACT = "artifact="
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_NO_PICTURE = "Take or upload a picture first, or use the specimen."


def start(pasted: str | None) -> Response:
    """The address of every link. `pasted`: a link or its token, from the form for browsers without scripts."""
    if pasted is None:
        return render("start")
    token = pasted.strip().rpartition(_ARTIFACT)[2]
    return _go(_address(token)) if _TOKEN.fullmatch(token) else _over()


def page(world: World, token: str, step: str = "") -> Response:
    """Render a step, the first open step, or the reason for a closed link. Opening the link may create the process."""
    opened = _opened(world, token)
    if opened is None:
        return _over()
    capture, process = opened
    if step not in ("", steps.CANCEL) and not steps.reachable(step, capture, process):
        return _go(_address(token, steps.first_open(capture, process)))
    return _show(world, capture, process, step)


def answer(world: World, token: str, step: str, content_type: str, content: bytes) -> Response:
    """Store the answer to one step. Redirect to the next open step, or render the same step with the problem."""
    opened = _opened(world, token)
    if opened is None:
        return _over()
    capture, process = opened
    if step == steps.CHECK or not steps.reachable(step, capture, process):
        return _go(_address(token, steps.first_open(capture, process)))
    try:
        texts, files = fields(content_type, content)
        _take(world, capture, process, step, texts, files)
    except AssureError as refusal:
        return _show(world, capture, process, step, refusal)
    return _go(_address(token, _next(step, capture, process)))


def submit(world: World, token: str, content_type: str, content: bytes) -> Response:
    """Submit or cancel, and redirect the end user to redirectUrl. A script may send pictures in the same request."""
    try:
        texts, files = fields(content_type, content)
        if texts.get("action") == "cancel":
            return _go(world.flows.finish(token, {}, "canceled"))
        chosen = texts.get("outcome", "")
        images = {name: _picture(name, file, world) for name, file in files.items()}
        return _go(world.flows.finish(token, images, chosen if chosen in OUTCOMES else None))
    except AssureError as refusal:
        opened = _opened(world, token)
        return _over() if opened is None else _show(world, *opened, "", refusal)


def picture(world: World, token: str, depiction: str) -> Response:
    """Send the end user the picture that the step stored."""
    opened = _opened(world, token)
    image = opened[1].images.get(depiction) if opened else None
    if image is None or image.content is None:
        return _over()
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(image.content, media_type=image.media_type, headers=headers)


def _opened(world: World, token: str) -> tuple[Capture, Process] | None:
    """The flow behind the link and its pending process, or None when the link is not usable."""
    try:
        capture = world.flows.open(token)
        return capture, world.flows.process(capture)
    except AssureError:
        return None


def _take(world: World, capture: Capture, process: Process, step: str, texts: Json, files: dict[str, bytes]) -> None:
    """Store the answer. Raise AssureError 400 when it is invalid."""
    flows, token = world.flows, capture.token
    if step == steps.COUNTRY:
        flows.choose_country(token, texts.get("country", ""))
    elif step == steps.DOCUMENT:
        flows.choose_document(token, texts.get("document", ""))
    elif texts.get("action") == "specimen":
        flows.picture(token, step, specimen.drawn(step, process.pages))
    elif step in files:
        flows.picture(token, step, _picture(step, files[step], world))
    elif step not in process.images:
        raise bad_request(_NO_PICTURE)


def _next(step: str, capture: Capture, process: Process) -> str:
    """The step after this one, or an earlier step that is open again."""
    row = steps.steps(capture, process)
    following = row[row.index(step) + 1]
    return following if steps.reachable(following, capture, process) else steps.first_open(capture, process)


def _show(world: World, capture: Capture, process: Process, step: str, refusal: AssureError | None = None) -> Response:
    """Render one step, with the message of a refusal if there is one."""
    row = steps.steps(capture, process)
    document = world.documents.get(capture.document_id or 0)
    values: Json = {
        "step": step,
        "stages": steps.STEPS,
        "stage": steps.current_step(step),
        "link": _address(capture.token),
        "first": _address(capture.token, row[0]),
        "next": _address(capture.token, steps.first_open(capture, process)),
        "back": _address(capture.token, steps.before(step, capture, process)) if step in row else "",
        "asker": urlsplit(capture.redirect_url).hostname,
        "capture": capture,
        "process": process,
        "document": document,
        "countries": world.flows.countries(capture),
        "documents": world.flows.documents(capture),
        "outcomes": OUTCOMES,
        "megabytes": world.config.max_image_bytes / 1024**2,
        "problem": refusal.detail if refusal else "",
    }
    name = "picture" if step in DEPICTIONS else step or "welcome"
    return render(name, refusal.status if refusal else 200, back_to=capture.redirect_url, **values)


def _picture(name: str, content: bytes, world: World) -> Image:
    """Check an uploaded file by the rules of a direct upload."""
    kind = validation.media_type(content)
    if kind is None:
        raise bad_request("This file is not a JPEG or PNG picture.")
    if len(content) > world.config.max_image_bytes:
        raise bad_request("This picture is too large.", world.config.oversize_status)
    return validation.image(name, f"data:{kind};base64,{base64.b64encode(content).decode()}", world.config)


def _over() -> Response:
    # The status and the single use of a link are choices: the contract does not describe them (§10).
    return render("over", 404)


def _go(url: str) -> Response:
    return Response(status_code=303, headers={"location": url, "cache-control": "no-store"})


def _address(token: str, step: str = "") -> str:
    return START + token + (f"/{step}" if step else "")
