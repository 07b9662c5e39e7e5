"""Steps of a start: log it, warn about a new store, and ask Assure for a token."""

from agent import __version__
from agent.assure.account import client_rejected, unreachable
from agent.assure.client import AssureClient
from agent.core.answer import Busy, Refused, Trouble
from agent.daemon.telemetry import Telemetry
from agent.platform.log import logger
from agent.platform.settings import Settings
from agent.platform.shutdown import Shutdown
from agent.ports import Clock
from agent.store.contract import Store

MAX_ATTEMPTS = 5  # attempts to reach Assure before `run --once` gives up


def log_start(settings: Settings, url: str, events_url: str | None) -> None:
    """Log the version, the addresses and the paths of the agent. The URL of a git source contains no secret."""
    git = bool(settings.source_url)
    logger().info(
        "started",
        version=__version__,
        address=url,
        events=events_url,
        source=settings.source_url if git else str(settings.specs_dir.absolute()),
        branch=settings.source_branch if git else None,
        path=(settings.source_path or None) if git else None,
        images=str(settings.images_dir.absolute()),
        store=_place(settings),
    )


def _place(settings: Settings) -> str:
    """The store in logs. A relative path would name another state file in another working directory."""
    return settings.state_url if settings.uses_database else str(settings.state_path.absolute())


async def is_new(store: Store) -> bool:
    """True if this process created the store, and no earlier one was lost."""
    return store.recoveries.fresh and await store.recoveries.open() is None


async def report_first_store(store: Store, settings: Settings, telemetry: Telemetry) -> None:
    """Warn if the store is new although the source already has requests: each of them will be billed."""
    starts = await store.count_progressing() if await is_new(store) else 0
    if starts and not store.simulated:
        telemetry.first_store_created(_place(settings), starts)


async def reach(client: AssureClient, settings: Settings, wait: bool, shutdown: Shutdown, clock: Clock) -> None:
    """Ask Assure for a token. Raises AgentError if it rejects the client, or is unreachable and `wait` is false."""
    for failures in range(MAX_ATTEMPTS):
        answer = await shutdown.run_until_requested(client.authenticate())
        if shutdown.requested.is_set():
            return
        if isinstance(answer, Refused):
            raise client_rejected(answer.evidence.cause)
        if answer is None:
            return
        await clock.wait(shutdown.requested, 0.2 * 2**failures)
    if not isinstance(answer, Busy) or answer.evidence.trouble is not Trouble.CONNECT:
        return  # Assure is reachable: the loops retry
    assert answer is not None
    silence = unreachable(settings, answer, "all requests are stored, and the agent continues at its next start")
    if not wait:
        raise silence
    logger().error("Assure is unreachable", error=str(silence), hint=silence.hint)
