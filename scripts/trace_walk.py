"""Trace the functions of the agent from a new request file to the first call to Assure, and write docs/architecture.md.

A real agent runs against a real sandbox in this process. A profile function records the functions of `agent/` on the
stack at each call of one of `MILESTONES`, and at each handover to a thread. Helpers that return before are left out,
and functions inside a function, which have no name of their own.
"""

import asyncio
import logging
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import structlog

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
ROOM = str(ROOT / "agent") + "/"
SETTLE = 1.0  # seconds that a started agent gets until its first scan is over
PAGE = ROOT / "docs/architecture.md"
BEGIN, END = "<!-- begin walk -->\n", "<!-- end walk -->"
PARSED, SCANNED = "parse_documents", "record_scan"
HANDOVER = asyncio.to_thread.__code__
MILESTONES = (
    "read_file", "parse_documents", "inspect", "admit", "write", "claim", "step", "read_verified",
    "begin",
)  # fmt: skip
REQUEST = """apiVersion: assure-agent/v1
kind: VerificationRequest
metadata:
  name: traced
spec:
  processType: document
  upload:
    documentId: 137
    images:
      front: front.jpg
"""


class Walk:
    """The functions in the order of their first call, while `recording`."""

    def __init__(self) -> None:
        self.recording = False
        self.first_call = threading.Event()
        self.codes: dict[CodeType, str] = {}  # each with the type of its effect, if it was chosen by it

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """The profile function of every thread."""
        code = frame.f_code
        if not self.recording or event != "call":
            return
        if code is HANDOVER or (_is_agent(code) and code.co_name in MILESTONES):
            stack: list[FrameType] = []
            caller: FrameType | None = frame
            while caller is not None:
                stack.append(caller)
                caller = caller.f_back
            for one in reversed(stack):
                if _is_agent(one.f_code):
                    self.codes.setdefault(one.f_code, _effect(one))
        if code.co_name == SCANNED and not any(one.co_name == PARSED for one in self.codes):
            self.codes.clear()  # the file was too young for this scan: the next one reads it
        if _is_agent(code) and code.co_name == "begin":
            self.recording = False
            self.first_call.set()


def _is_agent(code: CodeType) -> bool:
    path = code.co_filename
    named = not code.co_name.startswith("<") and "<locals>" not in code.co_qualname
    return path.startswith(ROOM) and not path.startswith(ROOM + "sandbox/") and named


def _effect(frame: FrameType) -> str:
    return f" for {type(frame.f_locals['effect']).__name__}" if frame.f_code.co_name == "_" else ""


async def _walk(walk: Walk, folder: Path) -> None:
    from agent.daemon.agent import Agent
    from agent.platform.settings import Settings
    from agent.sandbox import SandboxConfig, SandboxServer

    (folder / "specs").mkdir()
    (folder / "images").mkdir()
    (folder / "images/front.jpg").write_bytes((ROOT / "images/specimens/passport-front.jpg").read_bytes())
    config = SandboxConfig(seed=1)
    async with SandboxServer(config) as sandbox:
        settings = Settings(
            base_url=sandbox.url,
            client_id=config.client_id,
            client_secret=config.client_secret,
            specs_dir=folder / "specs",
            images_dir=folder / "images",
            state_url=f"sqlite:///{folder}/state/agent.db",
            listen="127.0.0.1:0",
            scan_interval=3600.0,
            poll_interval=3600.0,
        )
        async with Agent.opened(settings) as agent:
            running = asyncio.create_task(agent.run())
            await asyncio.sleep(SETTLE)
            walk.recording = True
            (folder / "specs/traced.yaml").write_text(REQUEST)
            await asyncio.to_thread(walk.first_call.wait)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def steps(walk: Walk) -> Iterator[tuple[str, str, str]]:
    """Module and qualified name of each function, and the effect that it performs."""
    for code, effect in walk.codes.items():
        module = code.co_filename.removeprefix(str(ROOT) + "/").removesuffix(".py").replace("/", ".")
        yield module, code.co_qualname, effect


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    walk = Walk()
    threading.setprofile(walk.profile)
    sys.setprofile(walk.profile)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_walk(walk, Path(folder)))
    sys.setprofile(None)
    found = list(steps(walk))
    lines = [f"{number}. `{module}`: `{name}`{effect}" for number, (module, name, effect) in enumerate(found, 1)]
    total = f"{len(found)} functions in {len({module for module, *_ in found})} files."
    text = "\n".join([*lines, "", total, ""])
    print(text)
    before, _, after = re.split(f"({BEGIN}.*?)(?={END})", PAGE.read_text(), flags=re.DOTALL)
    PAGE.write_text(f"{before}{BEGIN}{text}{after}")


if __name__ == "__main__":
    main()
