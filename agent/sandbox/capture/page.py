"""The capture page: what a person sees who opens a link (contract §10). A step at a time; forms work without a script.

A link is `/assure/capture/#/artifact=<token>`, as at Assure. A fragment never reaches a server, so a script at that
address leads on to `/assure/capture/<token>`, and each step is an address below it. Without a script the person pastes
the link into a form. Pictures go straight to the process, as images of a
direct upload do. On the last step the person may choose how the simulated verification ends; that and the specimens are
all that a real page would not have. Texts are in English whatever `uiLanguage` says: a choice.

    GET  /assure/capture/   on to the link's flow
    GET  link               the welcome                  POST link               done or cancel, and back to redirectUrl
    GET  link/STEP          one step (see `steps`)       POST link/STEP          its answer, and on to the next
    GET  link/STEP/picture  the picture given so far
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
_NO_PICTURE = "Take or upload a picture first, or use our specimen."


def start(pasted: str | None) -> Response:
    """The address of every link. `pasted`: a whole link or its token, from the form for browsers without a script."""
    if pasted is None:
        return render("start")
    token = pasted.strip().rpartition(_ARTIFACT)[2]
    return _go(_address(token)) if _TOKEN.fullmatch(token) else _over()


def page(world: World, token: str, step: str = "") -> Response:
    """A step's form, the first one that is open, or why there is none. Opening the link may create the process."""
    opened = _opened(world, token)
    if opened is None:
        return _over()
    capture, process = opened
    if step not in ("", steps.CANCEL) and not steps.reachable(step, capture, process):
        return _go(_address(token, steps.first_open(capture, process)))
    return _show(world, capture, process, step)


def answer(world: World, token: str, step: str, content_type: str, content: bytes) -> Response:
    """The answer to one step: on to the next that is open, or the same step again and what was wrong."""
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
    """Done or cancel: the process goes on, and the person is sent to redirectUrl. A script may send pictures along."""
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
    """The picture that the person gave for this step, for their own eyes."""
    opened = _opened(world, token)
    image = opened[1].images.get(depiction) if opened else None
    if image is None or image.content is None:
        return _over()
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return Response(image.content, media_type=image.media_type, headers=headers)


def _opened(world: World, token: str) -> tuple[Capture, Process] | None:
    """The flow behind the link and its pending process, or None when the link leads nowhere any more."""
    try:
        capture = world.flows.open(token)
        return capture, world.flows.process(capture)
    except AssureError:
        return None


def _take(world: World, capture: Capture, process: Process, step: str, texts: Json, files: dict[str, bytes]) -> None:
    """Put the answer where it belongs. AssureError 400 when it is none."""
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
    """The step after this one, or an earlier one that is open again."""
    row = steps.steps(capture, process)
    following = row[row.index(step) + 1]
    return following if steps.reachable(following, capture, process) else steps.first_open(capture, process)


def _show(world: World, capture: Capture, process: Process, step: str, refusal: AssureError | None = None) -> Response:
    """One step as a page, with the words of a refusal when there is one."""
    row = steps.steps(capture, process)
    document = world.documents.get(capture.document_id or 0)
    values: Json = {
        "step": step,
        "stages": steps.STAGES,
        "stage": steps.stage(step),
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
    """An uploaded file, under the same rules as a direct upload."""
    kind = validation.media_type(content)
    if kind is None:
        raise bad_request("This file is not a JPEG or PNG picture.")
    if len(content) > world.config.max_image_bytes:
        raise bad_request("This picture is too large.", world.config.oversize_status)
    return validation.image(name, f"data:{kind};base64,{base64.b64encode(content).decode()}", world.config)


def _over() -> Response:
    # The status and a link's single use are choices: the contract does not know them (§10).
    return render("over", 404)


def _go(url: str) -> Response:
    return Response(status_code=303, headers={"location": url, "cache-control": "no-store"})


def _address(token: str, step: str = "") -> str:
    return START + token + (f"/{step}" if step else "")
