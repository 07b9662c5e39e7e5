"""The API and the page over a prepared store, served on a port by a thread of its own."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zlib import crc32

import httpx

from agent.core.answer import Evidence, Operation
from agent.core.effect import EffectKind
from agent.core.observations import EffectRefused
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.platform.settings import Settings
from agent.store import open_store
from agent.web.agent_status import AgentStatus
from agent.web.api import Api
from agent.web.read_pool import ReadPool
from agent.web.recent_calls import RecentCalls
from agent.web.server import application, serve
from agent.web.sessions import Sessions
from agent.web.status_page import StatusPage
from tests.store.support import ACCOUNT
from tests.support.timeouts import PATIENT
from verification.builders.lives import Life
from verification.builders.records import NOW, capture, upload

TOKEN = "the-token-of-the-api"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
NASTY = "<script>alert(1)</script>\"'&{{7*7}}"

Refused = tuple[str, int, int, str, str, str | None]  # file, line, column, message, hint, name


class Noon:
    """A clock that always shows the same time."""

    confirmed = True

    def now(self) -> float:
        return NOW + 600

    async def wait(self, event: asyncio.Event, seconds: float | None) -> None:
        await event.wait()


@dataclass
class Served:
    """The address of the server, and the state of the agent that it shows. Tests change the state."""

    url: str
    folder: Path
    web_page: str = ""  # SOURCE_WEB_URL
    uids: dict[str, str] = field(default_factory=dict)
    observations: dict[str, Any] = field(default_factory=dict)
    clock: float = 0.0  # of the sessions, in seconds
    sessions: Sessions = field(init=False)

    def __post_init__(self) -> None:
        self.sessions = Sessions(lambda: self.clock)

    def link(self) -> str:
        """A new one-time link to the page."""
        return self.sessions.link(self.url)

    def get(self, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
        with httpx.Client(base_url=self.url, trust_env=False, timeout=PATIENT, verify=False) as client:
            return client.request(method, path, headers=headers)

    def see(self, path: str) -> httpx.Response:
        """With the token."""
        return self.get(path, BEARER)


def request(name: str, phase: Phase, **more: Any) -> Life:
    """A request that has reached this phase."""
    labels = tuple(more.pop("labels", {}).items())
    make = capture if more.pop("capture", False) else upload
    uid = f"{crc32(name.encode()):024x}"
    return Life(uid=uid, desired=make(labels=labels, **more), name=name).until(phase)


def held(name: str, **more: Any) -> Life:
    """A request that is held because Assure refused a call."""
    life = request(name, Phase.IMAGES, **more)
    evidence = Evidence(
        status=400,
        cause="refused",
        shape="code:str,message:str",
        digest="0123456789abcdef",
        trace_id="t-77",
        words="base:client-problem; Bad Request",
    )
    life.sees(EffectRefused, kind=EffectKind.UPLOAD_IMAGES, evidence=evidence)
    return life


def some() -> list[Life]:
    """Requests in all states."""
    return [
        *(request(f"customer-{number}", Phase.DONE, labels={"team": "onboarding"}) for number in range(3)),
        request("with-a-link", Phase.RESULT, capture=True, labels={"team": "risk", "shop": "nl"}),
        request("waits", Phase.RESULT, labels={"team": "onboarding"}),
        request("runs", Phase.IMAGES),
        request("kept", Phase.DELETION, retention=86_400.0),
        held("is-held", labels={"team": "onboarding"}),
        held(NASTY, labels={"nasty": NASTY}),
        request("suspended", Phase.DOSSIER, suspend=True),
    ]


@contextlib.contextmanager
def served(
    folder: Path,
    lives: list[Life],
    token: str = TOKEN,
    refusals: Sequence[Refused] = (("a.yaml", 1, 1, "no", "try", None),),
    web_page: str = "",
    database: str = "",
) -> Iterator[Served]:
    """Serve while the block runs. `database`: the URL of an empty one, instead of a state file in the folder."""
    settings = Settings.model_construct(state_url=database or f"sqlite:///{folder / 'agent.db'}", state_dir=folder)
    found = Served("", folder, web_page, {life.record.name: life.record.uid for life in lives})
    found.observations = {"ready": None, "paused": False, "budget": (42, 50), "circuit": None, "revision": None}
    up, end = threading.Event(), threading.Event()

    async def run_server() -> None:  # in its own thread: where Playwright is up, this one has a loop already
        await _fill(settings, lives, refusals)
        pool = ReadPool(settings)
        page = StatusPage(token, _status(found), pool, found.sessions)
        app = application([*Api(token, "default", pool).routes(), *page.routes()], page.unknown)
        async with serve(app, "127.0.0.1", 0) as found.url:
            up.set()
            await asyncio.to_thread(end.wait)
        pool.close()

    thread = threading.Thread(target=asyncio.run, args=(run_server(),))
    thread.start()
    try:
        assert up.wait(20)
        yield found
    finally:
        end.set()
        thread.join()


async def _fill(settings: Settings, lives: list[Life], refusals: Sequence[Refused]) -> None:
    store = await open_store(settings, ACCOUNT)
    for life in lives:
        for taken in life.steps:
            await store.commit([taken])
    await store.record_scan("default", NOW + 590, len(lives), True, 0, refusals)
    await store.aclose()


def _status(found: Served) -> AgentStatus:
    clock = Noon()
    pulse = RecentCalls(clock)
    for result in ("done", "done", "done", "busy", "unknown", "refused"):
        pulse.record_call(Operation.READ_PROCESS, result, 0.1)

    async def ready() -> str | None:
        return found.observations["ready"]

    async def revision() -> Any:
        return found.observations["revision"]

    return AgentStatus(
        source="default",
        policy=Policy(),
        clock=clock,
        recent_calls=pulse,
        ready=ready,
        paused=lambda: found.observations["paused"],
        budget=lambda: found.observations["budget"],
        circuit=lambda: found.observations["circuit"],
        revision=revision,
        web_page=found.web_page,
    )
