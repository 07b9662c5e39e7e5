"""The operations as data: method, path, operation, and the function of the world (contract §3)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import orjson
from starlette.convertors import StringConvertor, register_url_convertor
from starlette.datastructures import Headers, QueryParams
from starlette.responses import Response

from agent.sandbox.capture import page
from agent.sandbox.model import Json, Operation, View, bad_request
from agent.sandbox.world import World

DOSSIERS = "/assure/dossiers"
DOSSIER = DOSSIERS + "/{dossier}"
PROCESSES = DOSSIER + "/processes"
PROCESS = PROCESSES + "/{process}"
USER_DATA = DOSSIER + "/userdata"
FILES = DOSSIER + "/files"
CONFIGURATIONS = "/assure/capture/configurations"
CONFIGURATION = CONFIGURATIONS + "/{configuration}"
CAPTURE_STEP = page.PATH + "/{step}"


@dataclass(frozen=True, slots=True)
class Call:
    """One request with its complete body."""

    path: Mapping[str, str]
    query: QueryParams
    headers: Headers
    content: bytes
    view: View

    @property
    def dossier(self) -> str:
        """The dossier id in the path."""
        return self.path["dossier"]

    @property
    def configuration(self) -> str:
        """The capture configuration id in the path."""
        return self.path["configuration"]

    @property
    def ids(self) -> tuple[str, str]:
        """The dossier id and process id in the path."""
        return self.path["dossier"], self.path["process"]

    def lists(self) -> Mapping[str, Sequence[str]]:
        """The query's values by name."""
        return {name: self.query.getlist(name) for name in self.query}

    def body(self, *, required: bool = False) -> Json:
        """Parse the JSON object of the body. An empty body is {} unless it is required."""
        if not self.content and not required:
            return {}
        kind = self.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise bad_request("Content-Type must be application/json.")
        try:
            body = orjson.loads(self.content)
        except orjson.JSONDecodeError:
            raise bad_request("The body is not JSON.") from None
        if not isinstance(body, dict):
            raise bad_request("The body is not a JSON object.")
        return body


Act = Callable[[World, Call], Response]


def reply(status: int, body: object) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(body), status, media_type="application/json")


def _json(status: int, ask: Callable[[World, Call], object]) -> Act:
    return lambda world, call: reply(status, ask(world, call))


def _empty(status: int, do: Callable[[World, Call], None]) -> Act:
    def act(world: World, call: Call) -> Response:
        do(world, call)
        return Response(status_code=status)

    return act


def _document_types(world: World, call: Call) -> Response:
    rows = world.document_types(call.path["provider"])
    return reply(200, rows) if rows else Response(status_code=204)


def _image(world: World, call: Call) -> Response:
    content = world.get_image(*call.ids, call.query.get("depiction"), call.view)
    return Response(content, media_type="application/octet-stream")


def _file(world: World, call: Call) -> Response:
    content = world.data.get_file(call.dossier, call.query.get("depiction"))
    return Response(content, media_type="application/octet-stream")


def _arrive(world: World, call: Call) -> Response:
    return page.start(call.query.get("artifact"))


def _open(world: World, call: Call) -> Response:
    return page.page(world, call.path["token"])


def _step(world: World, call: Call) -> Response:
    return page.page(world, call.path["token"], call.path["step"])


def _picture(world: World, call: Call) -> Response:
    return page.picture(world, call.path["token"], call.path["step"])


def _answer(world: World, call: Call) -> Response:
    kind = call.headers.get("content-type", "")
    return page.answer(world, call.path["token"], call.path["step"], kind, call.content)


def _finish(world: World, call: Call) -> Response:
    return page.submit(world, call.path["token"], call.headers.get("content-type", ""), call.content)


_READ = _json(200, lambda world, call: world.get_process(*call.ids, call.view))
_START = _json(200, lambda world, call: world.start_verification(*call.ids, call.body()))
_DELETE_PROCESS = _empty(204, lambda world, call: world.delete_process(*call.ids))
_SET_IMAGES = _empty(201, lambda world, call: world.set_images(*call.ids, call.body(required=True)))
_FAIL = _json(200, lambda world, call: world.set_failed(*call.ids))
_EXTERNAL_ID = _json(200, lambda world, call: world.get_external_id(*call.ids))
_CREATE_PROCESS = _json(201, lambda world, call: world.create_process(call.dossier, call.body(required=True)))
_CAPTURE = _json(201, lambda world, call: world.flows.start(call.dossier, call.body(required=True)))
_DELETE_ALL = _empty(204, lambda world, _: world.delete_all_dossiers())
_GET_DOSSIER = _json(200, lambda world, call: world.get_dossier(call.dossier, call.view))
_DELETE_DOSSIER = _empty(204, lambda world, call: world.delete_dossier(call.dossier))
_GET_DOSSIERS = _json(200, lambda world, call: world.list_dossiers(call.view))
_CREATE_DOSSIER = _json(201, lambda world, call: world.create_dossier(call.body()))
_LIST = _json(200, lambda world, call: world.list_processes(call.lists(), call.view))

_USER_DATA = _json(200, lambda world, call: world.data.get_user_data(call.dossier))
_SET_USER_DATA = _empty(201, lambda world, call: world.data.set_user_data(call.dossier, call.body(required=True)))
_UPDATE_USER_DATA = _empty(204, lambda world, call: world.data.update_user_data(call.dossier, call.body(required=True)))
_DELETE_USER_DATA = _empty(204, lambda world, call: world.data.delete_user_data(call.dossier))
_SET_FILES = _empty(201, lambda world, call: world.data.set_files(call.dossier, call.body(required=True)))
_DELETE_FILES = _empty(204, lambda world, call: world.data.delete_files(call.dossier))
_CONFIGURATIONS = _json(200, lambda world, _: world.configurations.rows())
_CONFIGURATION = _json(200, lambda world, call: world.configurations.get(call.configuration))
_SET_CONFIGURATION = _json(
    201, lambda world, call: world.configurations.create(call.configuration, call.body(required=True))
)
_UPDATE_CONFIGURATION = _json(
    200, lambda world, call: world.configurations.update(call.configuration, call.body(required=True))
)
_DELETE_CONFIGURATION = _empty(204, lambda world, call: world.configurations.delete(call.configuration))

# The server tries paths in this order: `/dossiers/all` must come before the paths with a dossier id.
OPERATIONS: tuple[tuple[str, str, Operation, Act], ...] = (
    ("GET", PROCESS, Operation.GET_PROCESS, _READ),
    ("POST", PROCESS, Operation.START_VERIFICATION, _START),
    ("DELETE", PROCESS, Operation.DELETE_PROCESS, _DELETE_PROCESS),
    ("POST", PROCESS + "/images", Operation.SET_IMAGES, _SET_IMAGES),
    ("GET", PROCESS + "/images", Operation.GET_IMAGES, _image),
    ("POST", PROCESS + "/fail", Operation.SET_FAILED_PROCESS, _FAIL),
    ("GET", PROCESS + "/external-id", Operation.GET_EXTERNAL_ID, _EXTERNAL_ID),
    ("POST", PROCESSES, Operation.CREATE_PROCESS, _CREATE_PROCESS),
    ("POST", DOSSIER + "/capture", Operation.CREATE_ARTIFACT, _CAPTURE),
    ("GET", USER_DATA, Operation.GET_USER_DATA, _USER_DATA),
    ("POST", USER_DATA, Operation.SET_USER_DATA, _SET_USER_DATA),
    ("PUT", USER_DATA, Operation.UPDATE_USER_DATA, _UPDATE_USER_DATA),
    ("DELETE", USER_DATA, Operation.DELETE_USER_DATA, _DELETE_USER_DATA),
    ("GET", FILES, Operation.GET_FILE, _file),
    ("POST", FILES, Operation.SET_FILES, _SET_FILES),
    ("DELETE", FILES, Operation.DELETE_FILES, _DELETE_FILES),
    ("DELETE", DOSSIERS + "/all", Operation.DELETE_ALL_DOSSIERS, _DELETE_ALL),
    ("GET", DOSSIER, Operation.GET_DOSSIER, _GET_DOSSIER),
    ("DELETE", DOSSIER, Operation.DELETE_DOSSIER, _DELETE_DOSSIER),
    ("GET", DOSSIERS, Operation.GET_DOSSIERS, _GET_DOSSIERS),
    ("POST", DOSSIERS, Operation.CREATE_DOSSIER, _CREATE_DOSSIER),
    ("GET", "/assure/processes", Operation.GET_ALL_PROCESS, _LIST),
    ("GET", CONFIGURATIONS, Operation.GET_CONFIGURATIONS, _CONFIGURATIONS),
    ("GET", CONFIGURATION, Operation.GET_CONFIGURATION, _CONFIGURATION),
    ("POST", CONFIGURATION, Operation.SET_CONFIGURATION, _SET_CONFIGURATION),
    ("PUT", CONFIGURATION, Operation.UPDATE_CONFIGURATION, _UPDATE_CONFIGURATION),
    ("DELETE", CONFIGURATION, Operation.DELETE_CONFIGURATION, _DELETE_CONFIGURATION),
    ("GET", "/assure/{provider}/document-types", Operation.GET_DOCUMENT_TYPES, _document_types),
)


class _Artifact(StringConvertor):
    """A path segment that may be a capture's token, other than the first segment of capture configurations."""

    regex = "(?!configurations(?:/|$))[^/]+"


register_url_convertor("artifact", _Artifact())

# These are the calls of the end user's browser. The link is the secret, so there is no bearer token.
PAGES: tuple[tuple[str, str, Operation, Act], ...] = (
    ("GET", page.START, Operation.OPEN_CAPTURE, _arrive),
    ("GET", page.PATH, Operation.OPEN_CAPTURE, _open),
    ("POST", page.PATH, Operation.FINISH_CAPTURE, _finish),
    ("GET", CAPTURE_STEP, Operation.OPEN_CAPTURE, _step),
    ("POST", CAPTURE_STEP, Operation.ANSWER_CAPTURE, _answer),
    ("GET", CAPTURE_STEP + "/picture", Operation.OPEN_CAPTURE, _picture),
)
