"""Trace the functions of the agent from a new request file to the first call to Assure, and print them as Markdown.

A real agent runs against a real sandbox in this process. At each call of one of `MILESTONES`, a profile function
records the functions of `agent/` on the stack, in the order of their first appearance. Helpers that return before a
milestone are omitted.
"""

import asyncio
import logging
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
SETTLE = 1.0  # seconds that a started agent needs for its first scan
MILESTONES = (
    "read_beneath", "parse_documents", "inspect", "admit", "write", "claim", "step", "read_verified",
    "handle_async_request",
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
        self.codes: dict[CodeType, None] = {}

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """The profile function of every thread."""
        code = frame.f_code
        if not self.recording or event != "call" or not code.co_filename.startswith(ROOM):
            return
        if code.co_filename.startswith(ROOM + "sandbox/") or code.co_name.startswith("<"):
            return
        if code.co_name in MILESTONES:
            stack: list[CodeType] = []
            caller: FrameType | None = frame
            while caller is not None:
                if caller.f_code.co_filename.startswith(ROOM) and not caller.f_code.co_name.startswith("<"):
                    stack.append(caller.f_code)
                caller = caller.f_back
            for one in reversed(stack):
                self.codes.setdefault(one)
        if code.co_name == "handle_async_request":
            self.recording = False
            self.first_call.set()


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


def steps(walk: Walk) -> Iterator[tuple[str, str]]:
    """Module and qualified name of each function."""
    for code in walk.codes:
        module = code.co_filename.removeprefix(str(ROOT) + "/").removesuffix(".py").replace("/", ".")
        yield module, code.co_qualname


def main() -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    walk = Walk()
    threading.setprofile(walk.profile)
    sys.setprofile(walk.profile)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_walk(walk, Path(folder)))
    sys.setprofile(None)
    found = list(steps(walk))
    for number, (module, name) in enumerate(found, 1):
        print(f"{number}. `{module}`: `{name}`")
    print(f"\n{len(found)} functions in {len({module for module, _ in found})} files.")


if __name__ == "__main__":
    main()
