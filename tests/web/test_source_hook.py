"""Hooks of the git server: a genuine one makes the agent fetch, any other changes nothing. Real sockets."""

import asyncio
import contextlib
import hashlib
import hmac
import os
import re
import secrets
import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.core.policy import Policy
from agent.platform.endpoint_health import EndpointHealth
from agent.platform.metrics import Metrics
from agent.platform.settings import load_settings
from agent.web import request_body
from agent.web.agent_status import AgentStatus
from agent.web.recent_calls import RecentCalls
from agent.web.service import HttpService
from agent.web.source_hook import MAX_BODY_BYTES
from tests.store.support import opened
from tests.support.timeouts import PATIENT
from tests.web.live_server import Noon
from tests.web.signed_events import SECRET as EVENTS_SECRET
from tests.web.signed_events import envelope
from tests.web.signed_events import signature as event_signature

SECRET = "It's a Secret to Everybody"
BODY = b"Hello, World!"
OF_BODY = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"  # as GitHub documents it
FORMS = {
    "GitHub": {"X-Hub-Signature-256": f"sha256={OF_BODY}"},
    "Gitea": {"X-Gitea-Signature": OF_BODY},
    "Gogs": {"X-Gogs-Signature": OF_BODY},
    "GitLab": {"X-Gitlab-Token": SECRET},
    "generic-hmac": {"X-Signature": f"sha256={OF_BODY}"},
    "upper case": {"X-Signature": f"sha256={OF_BODY.upper()}"},
    "one of two": {"X-Hub-Signature-256": "sha256=0", "X-Gitea-Signature": OF_BODY},
}
FORGED = {
    "nothing": {},
    "empty": {"X-Hub-Signature-256": "", "X-Gitea-Signature": "", "X-Gitlab-Token": "", "X-Signature": ""},
    "prefix alone": {"X-Hub-Signature-256": "sha256="},
    "no prefix": {"X-Hub-Signature-256": OF_BODY},
    "prefix at Gitea": {"X-Gitea-Signature": f"sha256={OF_BODY}"},
    "one digit less": {"X-Signature": f"sha256={OF_BODY[:-1]}"},
    "SHA-1": {"X-Hub-Signature": "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59"},
    "not ASCII": {"X-Signature": "sha256=é", "X-Gitlab-Token": "é"},
    "part of the secret": {"X-Gitlab-Token": SECRET[:-1]},
    "signature as token": {"X-Gitlab-Token": OF_BODY},
    "secret as signature": {"X-Gitea-Signature": SECRET},
    "other secret": {"X-Signature": "sha256=" + hmac.new(b"other", BODY, hashlib.sha256).hexdigest()},
}


@dataclass
class Hooked:
    """The HTTP services of an agent that accepts hooks."""

    url: str = ""
    hooks: str | None = None  # the URL of EVENTS_LISTEN
    pushes: list[None] = field(default_factory=list)

    async def post(
        self,
        content: bytes | AsyncIterator[bytes] = BODY,
        headers: dict[str, str] | None = None,
        path: str = "/hooks/source",
    ) -> int:
        """The status of the answer, by default to a genuine hook."""
        given = FORMS["GitHub"] if headers is None else headers
        raw = [(name, value.encode("latin-1")) for name, value in given.items()]
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
            return (await client.post(f"{self.hooks}{path}", content=content, headers=raw)).status_code  # type: ignore[arg-type]

    def fetched(self) -> int:
        """How often the agent was made to fetch since the last look."""
        count = len(self.pushes)
        self.pushes.clear()
        return count

    async def metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENT) as client:
            return (await client.get(f"{self.url}/metrics")).text

    async def counted(self) -> dict[str, float]:
        families = text_string_to_metric_families(await self.metrics())
        (family,) = [one for one in families if one.name == "assure_agent_source_hooks"]
        return {one.labels["result"]: one.value for one in family.samples if one.value and "result" in one.labels}


@contextlib.asynccontextmanager
async def hooked(folder: Path, **more: str) -> AsyncIterator[Hooked]:
    found, clock = Hooked(), Noon()
    given = {"source_url": "file:///srv/requests.git", "source_hook_secret": SECRET, **more}
    settings = load_settings(
        listen="127.0.0.1:0", events_listen="127.0.0.1:0", state_url=f"sqlite:///{folder}/agent.db", **given
    )

    async def nothing() -> None:
        return None

    status = AgentStatus(
        source="default",
        policy=Policy(),
        clock=clock,
        recent_calls=RecentCalls(clock),
        ready=nothing,
        paused=lambda: False,
        budget=lambda: None,
        circuit=lambda: None,
        revision=nothing,
    )

    async def deliver(*_: object, **__: object) -> None:
        raise AssertionError("a hook is no event")

    def fetch_now() -> None:
        found.pushes.append(None)

    with contextlib.closing(opened(folder)) as store:
        health = EndpointHealth({}, clock)
        service = HttpService(
            settings, store, Metrics(clock), status, health, deliver, fetch_now, lambda: 0.5, lambda error: None
        )
        async with service.running() as (found.url, found.hooks):
            yield found


def signed(body: bytes, secret: str = SECRET) -> dict[str, str]:
    return {"X-Signature": "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}


async def test_a_hook_in_the_form_of_each_server_makes_the_agent_fetch(tmp_path: Path) -> None:
    async with hooked(tmp_path) as hook:
        for form, headers in FORMS.items():
            assert await hook.post(headers=headers) == 202, form
            assert hook.fetched() == 1, form
        assert await hook.counted() == {"accepted": len(FORMS)}


async def test_a_forged_hook_is_refused_and_counted_and_fetches_nothing(tmp_path: Path) -> None:
    async with hooked(tmp_path) as hook:
        for kind, headers in FORGED.items():
            assert await hook.post(headers=headers) == 401, kind
        assert await hook.post(BODY + b" ") == 401, "another body"
        assert not hook.fetched()
        assert await hook.counted() == {"forged": len(FORGED) + 1}


async def test_the_command_in_the_documentation_sends_a_genuine_hook(tmp_path: Path) -> None:
    document = (Path(__file__).resolve().parents[2] / "docs/operations/source-hook.md").read_text()
    (command,) = re.findall(r"```sh\n(.+?)```", document, re.DOTALL)
    async with hooked(tmp_path) as hook:
        script = command.replace("https://HOST", str(hook.hooks))
        environment = {"PATH": os.environ["PATH"], "SECRET": SECRET}
        sender = await asyncio.create_subprocess_exec("sh", "-c", script, env=environment)
        assert await asyncio.wait_for(sender.wait(), PATIENT) == 0
        assert hook.fetched() == 1
        environment["SECRET"] = "another secret"
        sender = await asyncio.create_subprocess_exec(
            "sh", "-c", script, env=environment, stderr=asyncio.subprocess.DEVNULL
        )
        assert await asyncio.wait_for(sender.wait(), PATIENT) == 22, "curl -f: an answer of 4xx"
        assert hook.fetched() == 0


async def test_the_body_is_never_parsed(tmp_path: Path) -> None:
    async with hooked(tmp_path) as hook:
        for body in (b"", b"{", b"[" * 60_000, b"\xff\x00", b'{"ref": "refs/heads/other"}'):
            assert await hook.post(body, signed(body)) == 202
            assert hook.fetched()


async def test_two_secrets_count_while_they_rotate(tmp_path: Path) -> None:
    async with hooked(tmp_path, source_hook_secret=f"the-old-secret-of-it, {SECRET}") as hook:
        for secret in ("the-old-secret-of-it", SECRET):
            assert await hook.post(headers=signed(BODY, secret)) == 202
            assert await hook.post(headers={"X-Gitlab-Token": secret}) == 202
        assert await hook.post(headers=signed(BODY, f"the-old-secret-of-it, {SECRET}")) == 401


async def in_parts(size: int) -> AsyncIterator[bytes]:
    for start in range(0, size, 1 << 16):
        yield b"x" * min(1 << 16, size - start)


async def test_the_largest_body_of_github_is_hashed_and_not_kept_and_a_larger_one_is_refused(tmp_path: Path) -> None:
    largest = b"x" * MAX_BODY_BYTES
    headers = signed(largest)
    whole = {**headers, "Content-Length": str(MAX_BODY_BYTES)}
    async with hooked(tmp_path) as hook:
        del largest
        tracemalloc.start()
        assert await hook.post(in_parts(MAX_BODY_BYTES), whole) == 202
        assert await hook.post(in_parts(MAX_BODY_BYTES), headers) == 202, "chunked"
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert most < MAX_BODY_BYTES / 5
        assert hook.fetched()
        assert await hook.post(in_parts(MAX_BODY_BYTES + 1), headers) == 413
        assert await asked(hook, b"Content-Length: 26214401") == b"413"
        assert not hook.fetched()
        assert await hook.counted() == {"accepted": 2, "oversized": 2}


async def asked(hook: Hooked, header: bytes, body: bytes = b"") -> bytes:
    """The status of the answer to a request of which no more than this is sent."""
    port = (hook.hooks or "").rpartition(":")[2]
    reader, writer = await asyncio.open_connection("127.0.0.1", int(port))
    writer.write(b"POST /hooks/source HTTP/1.1\r\nHost: a\r\n" + header + b"\r\n\r\n" + body)
    try:
        return (await asyncio.wait_for(reader.readline(), PATIENT)).split()[1]
    finally:
        writer.transport.abort()


async def test_a_body_that_does_not_arrive_is_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_body, "_TIMEOUT", 0.2)
    async with hooked(tmp_path) as hook:
        head = b"Content-Length: 13\r\nX-Gitlab-Token: " + SECRET.encode()
        assert await asked(hook, head, BODY[:5]) == b"400"
        assert not hook.fetched()
        assert await hook.counted() == {"unreadable": 1}


async def test_only_a_post_is_answered_also_with_a_slash_at_its_end(tmp_path: Path) -> None:
    async with hooked(tmp_path) as hook, httpx.AsyncClient(timeout=PATIENT) as client:
        assert await hook.post(path="/hooks/source/") == 202
        assert (await client.get(f"{hook.hooks}/hooks/source")).status_code == 405
        assert await hook.post(path="/hooks/other") == 404


async def test_a_path_without_its_secret_is_unknown(tmp_path: Path) -> None:
    async with hooked(tmp_path) as hook:
        assert await hook.post(path="/events") == 404
    async with hooked(tmp_path, source_hook_secret="", events_secret=EVENTS_SECRET) as hook:
        assert await hook.post() == 404
        assert not hook.fetched()
    async with hooked(tmp_path, source_hook_secret=" , ") as hook:
        assert hook.hooks is None


async def test_each_path_has_its_own_secret_and_its_own_limit(tmp_path: Path) -> None:
    async with hooked(tmp_path, events_secret=EVENTS_SECRET) as hook:
        event = envelope()
        assert await hook.post(event, {"X-Signicat-Signature": event_signature(event)}, "/events") == 200
        assert await hook.post(event, {"X-Gitlab-Token": EVENTS_SECRET}) == 401
        large = b"x" * 1_000_000
        assert await hook.post(large, signed(large)) == 202
        assert await hook.post(in_parts(100_000), {}, "/events") == 413


async def test_nothing_of_a_hook_is_logged_or_kept(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """[I6] It has names and addresses of the people who pushed."""
    canary = f"canary-{secrets.token_hex(8)}"
    body = canary.encode()
    async with hooked(tmp_path) as hook:
        assert await hook.post(body, signed(body)) == 202
        assert await hook.post(body, {"X-Gitlab-Token": canary}) == 401
        text = await hook.metrics() + "".join(capfd.readouterr()) + caplog.text
    assert canary not in text
    assert SECRET not in text
    assert [path for path in tmp_path.rglob("*") if path.is_file() and body in path.read_bytes()] == []
