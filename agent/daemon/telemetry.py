"""What the agent tells of itself: a log line and the metrics for each step and each scan; never a name [I6]."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

from agent.admission import SyncResult
from agent.assure.circuit_breaker import Cause, OpenCircuit
from agent.controller.recovery import RecoveryReport
from agent.core.answer import CallResult
from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.core.step import Step
from agent.core.timestamps import format_timestamp
from agent.platform.callbacks import isolated
from agent.platform.endpoint_health import EndpointCause as EndpointCause
from agent.platform.endpoint_health import EndpointTrouble
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.ports import Command
from agent.store.audit.checkpoints import BREAK, Checkpoint

CIRCUIT_HINTS = {
    Cause.OUTAGE: "Assure answers nobody; the agent goes on by itself once it does",
    Cause.TOKEN: "the token endpoint gives no token; the agent goes on by itself once it does",
    Cause.CREDENTIALS: "Assure does not accept the client: check ASSURE_AGENT_CLIENT_ID, ASSURE_AGENT_CLIENT_SECRET "
    "and the permissions of the API client; this does not end by itself",
    Cause.MISSING: "nothing of ours is at Assure: check the account; if all was deleted there: assure-agent resume",
}


class Telemetry:
    """Hears of everything once it is durable. `seen(step)` hears of every committed step as well."""

    def __init__(self, metrics: Metrics, on_step: Callable[[Step], None]) -> None:
        self._metrics = metrics
        self._on_step = isolated(on_step)
        self._log = logger()
        self.last_sync: SyncResult | None = None  # the last scan
        self._lists_readable = True

    @isolated
    def step_committed(self, step: Step) -> None:
        """A step was committed."""
        self._metrics.step_committed(step)
        self._on_step(step)
        before, record = step.before, step.record
        moved = before is None or before.phase is not record.phase or before.generation != record.generation
        held = step.held is not None
        if not (moved or held):
            return
        result, trace_id = step.call_result or (step.answered.result if step.answered else None, None)
        if moved and before is not None and before.phase is Phase.DELETION and result is CallResult.REFUSED:
            result = CallResult.DONE  # the 404 that confirms the deletion
        log = self._log.warning if held else self._log.info  # a person has to act
        log(
            "held" if held else "phase",
            uid=record.uid,
            before=before.phase.value if before else None,
            phase=record.phase.value,
            generation=record.generation,
            outcome=record.outcome.value if record.outcome else None,
            reason=record.hold.reason.value if record.hold else None,
            seconds=round(record.phase_at - before.phase_at, 3) if before else None,
            result=result,
            trace_id=trace_id or None,
        )

    @isolated
    def command_executed(self, command: Command) -> None:
        """A person's command was obeyed. A pause stops all that is new, so it is a warning."""
        log = self._log.warning if command.verb == "pause" else self._log.info
        log("command", command=command.verb, uid=command.uid, sender=command.sender)

    @isolated
    def started_paused(self, since: float) -> None:
        """At the start: a person paused an earlier run; 0.0: when is not known."""
        when = format_timestamp(since) if since else None
        self._log.warning("paused", since=when, hint="nothing new is begun before `assure-agent resume`")

    @isolated
    def sync_finished(self, synced: SyncResult) -> None:
        """The source was scanned."""
        changed = self.last_sync is None or (self.last_sync.files, self.last_sync.refusals, self.last_sync.waiting) != (
            synced.files,
            synced.refusals,
            synced.waiting,
        )
        before, self.last_sync = self.last_sync, synced
        self._metrics.sync_finished(
            synced.files, len(synced.refusals), synced.waiting, len(synced.passed_over), synced.complete
        )
        if synced.passed_over and (before is None or before.passed_over != synced.passed_over):
            self._log.warning(
                "files of the source are passed over, because their names do not end in .yaml or .yml",
                count=len(synced.passed_over),
                hint="see which with `assure-agent plan`",
            )
        if changed:
            self._log.info("scanned", files=synced.files, refused=len(synced.refusals), waiting=synced.waiting)
        if changed and synced.error is not None:
            self._log.error("source", error=synced.error.message, hint=synced.error.hint)
        if synced.exposed and (before is None or before.exposed != synced.exposed):
            self._log.warning(
                "others could change request files, or folders of them",
                count=len(synced.exposed),
                hint="see which with `assure-agent doctor`; SOURCE_OWNER has such files refused",
            )
        for stray in synced.strays - (before.strays if before is not None else frozenset()):
            self._log.warning(
                "the resolve annotation answers no open hold",
                uid=stray.uid,
                hold_id=stray.hold_id or None,  # the one that it names
                hint="see the open one and its answers with explain",
            )
        if changed and synced.waiting:
            self._log.error(
                "withdrawals wait for approval",
                waiting=synced.waiting,
                hint="put the files back, or say `assure-agent approve`; `assure-agent plan` lists them",
            )

    @isolated
    def first_store_created(self, path: Path, starts: int) -> None:
        """The store was made just now, over a source that holds requests: each of them is verified, and billed."""
        self._log.warning(
            "a new state file was made: every request of the source is verified and billed",
            store=str(path),
            starts=starts,
            hint="if they were verified before, stop the agent, and set STATE_URL to the state file of then",
        )

    def circuit_changed(self, opened: OpenCircuit | None, detail: str) -> None:
        """The circuit opened, closed, or changed its cause. `detail`: the troubles behind the cause, in sentences."""
        self._metrics.circuit(opened is not None)
        if opened is None:
            self._log.warning("circuit closed: calls to Assure continue")
        else:
            hint = CIRCUIT_HINTS[opened.cause]
            self._log.error(
                "circuit open: only probes are sent to Assure",
                cause=opened.cause.value,
                error=detail or None,
                hint=hint,
            )

    @isolated
    def endpoint_changed(self, name: str, before: EndpointTrouble | None, after: EndpointTrouble | None) -> None:
        """The trouble of an endpoint began, changed its cause, or ended."""
        self._metrics.endpoint(name, before, after)
        if after is None:
            assert before is not None
            self._log.warning("trouble ended", endpoint=name, cause=before.cause.value, address=before.address)
            return
        grave = after.cause is EndpointCause.CREDENTIALS
        self._log.log(
            logging.ERROR if grave else logging.WARNING,
            "trouble" if before is None else "trouble changed",
            endpoint=name,
            cause=after.cause.value,
            status=after.status,
            detail=after.detail or None,
            address=after.address,
            error=after.sentence,
            hint=CIRCUIT_HINTS[Cause.CREDENTIALS] if grave else None,
        )

    @isolated
    def recovery_scanned(self, report: RecoveryReport) -> None:
        """Assure was asked for what a store that is not what it was may have missed."""
        recovery = report.recovery
        counts = {"dossiers": report.claimed, "unclaimed": report.unclaimed, "waiting": report.waiting}
        if report.closed:
            self._log.warning("recovered", reason=recovery.cause, **counts)
            return
        self._log.error(
            "the state file is not what it was; what Assure still has is adopted, and nothing is billed unproven",
            reason=recovery.cause,
            hint="look at what is held with `get`, then let the rest go on with `assure-agent approve`",
            **counts,
        )

    @isolated
    def lists_checked(self, readable: bool) -> None:
        """Assure's lists can be read, or not: a store that may be behind needs them. Said when it changes."""
        before, self._lists_readable = self._lists_readable, readable
        if before and not readable:
            self._log.error(
                "no list of Assure's can be read: what this store may have missed is not looked for",
                hint="see assure_agent_api_requests_total for its operations; it is tried again by itself",
            )
        elif readable and not before:
            self._log.warning("Assure's lists can be read again")

    @isolated
    def checkpointed(self, lines: Iterable[Checkpoint]) -> None:
        """Lines were added to the checkpoints. Logs leave the machine, as a rule: with the hashes in them, database and
        file cannot be changed together without a trace."""
        for line in lines:
            if line.kind == BREAK:
                self._log.error("the journal was changed", hint="look with `assure-agent audit verify`")
            self._log.info("checkpoint", checkpoint=line.number, events=line.event, digest=line.hash)

    @isolated
    def checkpoint_failed(self, error: Exception) -> None:
        """No checkpoint could be added."""
        cause = str(error) if isinstance(error, AgentError) else getattr(error, "strerror", None)
        hint = error.hint if isinstance(error, AgentError) else ""
        hint = hint or "make room in the state folder, and let the agent write to it; it is tried again in five minutes"
        self._log.error("no checkpoint", error=type(error).__name__, cause=cause, hint=hint)

    @isolated
    def watch_failed(self, error: Exception) -> None:
        """The system gives no watch on the source."""
        self._log.warning(
            "the source is not watched; it is scanned at intervals",
            error=type(error).__name__,
            cause=getattr(error, "strerror", None),
            hint="raise fs.inotify.max_user_watches and max_user_instances, or let the agent's user read the folder"
            if isinstance(error, OSError)
            else None,
        )

    @isolated
    def bug(self, uid: str, error: Exception) -> None:
        """A bug of ours met one record."""
        self._log.error("bug", uid=uid, error=f"{type(error).__name__}: {error}", hint="report it; the request waits")
