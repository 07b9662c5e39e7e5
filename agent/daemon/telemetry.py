"""Log lines and metrics for each step and each sync. They contain no request name [I6]."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from agent.admission import SyncResult
from agent.assure.circuit_breaker import Cause, OpenCircuit
from agent.controller.recovery import RecoveryReport
from agent.core.answer import CallResult
from agent.core.errors import AgentError
from agent.core.record import Phase
from agent.core.source_revision import FetchFailure, Revision, RevisionState
from agent.core.step import Step
from agent.core.timestamps import format_timestamp
from agent.daemon.refusal_log import log_new_refusals
from agent.platform.callbacks import isolated
from agent.platform.endpoint_health import EndpointCause as EndpointCause
from agent.platform.endpoint_health import EndpointTrouble
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.ports import Command
from agent.store.audit.checkpoints import BREAK, Checkpoint
from agent.views.revisions import failure_sentence, refusal_sentence, short

if TYPE_CHECKING:
    from agent.source.revisions.git_source import Refreshed

CIRCUIT_HINTS = {
    Cause.OUTAGE: "Assure does not answer; the agent continues automatically when it does",
    Cause.TOKEN: "the token endpoint issues no token; the agent continues automatically when it does",
    Cause.CREDENTIALS: "Assure does not accept the client until you correct ASSURE_AGENT_CLIENT_ID, "
    "ASSURE_AGENT_CLIENT_SECRET or the permissions of the API client",
    Cause.MISSING: "check the account, because dossiers are missing; if they were deleted, run `assure-agent resume`",
}


class Telemetry:
    """Receives facts after they are durable. `on_step` receives every committed step as well."""

    def __init__(self, metrics: Metrics, on_step: Callable[[Step], None], digest: Callable[[bytes], str]) -> None:
        """`digest` is the keyed digest of a file's name, which may contain the name of a person."""
        self._metrics, self._digest = metrics, digest
        self._on_step = isolated(on_step)
        self._log = logger()
        self.last_sync: SyncResult | None = None  # the last scan
        self.stands_by = False  # another replica acts on the source
        self.lags = False  # another replica acted on a newer revision
        self._lists_readable = True
        self._fetch_failure: FetchFailure | None = None  # as logged
        self._refusal_logged = ""  # the sentence about the refused revision

    def step_committed(self, step: Step) -> None:
        """A step was committed."""
        self._metrics.step_committed(step)
        self._on_step(step)
        before, record = step.before, step.record
        moved = before is None or before.phase is not record.phase or before.generation != record.generation
        held = step.held is not None
        if not (moved or held):
            return
        if not (held or self._log.is_enabled_for(logging.INFO)):
            return  # the values of the line cost more than the step's metrics
        result, trace_id = step.call_result or (step.answered.result if step.answered else None, None)
        if moved and before is not None and before.phase is Phase.DELETION and result is CallResult.REFUSED:
            result = CallResult.DONE  # the 404 that confirms the deletion
        log = self._log.warning if held else self._log.info  # a hold needs the operator
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
        """A command of the operator was executed. A pause stops all new work, so it is a warning."""
        log = self._log.warning if command.verb == "pause" else self._log.info
        log("command", command=command.verb, uid=command.uid, sender=command.sender)

    @isolated
    def started_paused(self, since: float) -> None:
        """The operator paused an earlier run. `since` 0.0: the time is unknown."""
        when = format_timestamp(since) if since else None
        self._log.warning("paused", since=when, hint="the agent starts nothing new before `assure-agent resume`")

    @isolated
    def stood_by(self, lagging: bool) -> None:
        """Another replica acts on the source. `lagging`: it acted on a revision that this one has not fetched."""
        if not self.stands_by:
            self._log.info("another replica acts on the source; this one stands by")
        if lagging and not self.lags:
            self._log.warning("another replica acted on a newer revision of the source than this one has fetched")
        self.stands_by, self.lags, self.last_sync = True, lagging, None
        self._metrics.source_lagging(lagging)
        self._metrics.stood_by()

    @isolated
    def sync_finished(self, synced: SyncResult) -> None:
        """The source was scanned."""
        self.stands_by = self.lags = False
        self._metrics.source_lagging(False)
        before, self.last_sync, scan = self.last_sync, synced, synced.scan
        changed = before is None or (before.scan.files, before.refusals, before.waiting) != (
            scan.files,
            synced.refusals,
            synced.waiting,
        )
        self._metrics.sync_finished(
            scan.files, len(synced.refusals), synced.waiting, len(scan.passed_over), scan.complete
        )
        self._revision_scanned(before.scan.revision if before is not None else None, scan.revision)
        if scan.passed_over and (before is None or before.scan.passed_over != scan.passed_over):
            self._log.warning(
                "the agent ignores files of the source whose names do not end in .yaml or .yml",
                count=len(scan.passed_over),
                hint="`assure-agent plan` lists them",
            )
        if changed:
            self._log.info("scanned", files=scan.files, refused=len(synced.refusals), waiting=synced.waiting)
            log_new_refusals(self._log, self._digest, before.refusals if before is not None else (), synced.refusals)
        if changed and scan.error is not None:
            self._log.error("the source cannot be read", error=scan.error.message, hint=scan.error.hint)
        if scan.exposed and (before is None or before.scan.exposed != scan.exposed):
            self._log.warning(
                "other users can change request files or their folders",
                count=len(scan.exposed),
                hint="`assure-agent doctor` lists them; with SOURCE_OWNER, the agent refuses such files",
            )
        for stray in synced.strays - (before.strays if before is not None else frozenset()):
            self._log.warning(
                "the resolve annotation does not name an open hold",
                uid=stray.uid,
                hold_id=stray.hold_id or None,  # the one that it names
                hint="`assure-agent explain` shows the open hold and its commands",
            )
        if changed and synced.waiting:
            self._log.error(
                "withdrawals wait for approval",
                waiting=synced.waiting,
                hint="restore the files, or run `assure-agent approve`; `assure-agent plan` lists them",
            )

    def _revision_scanned(self, before: Revision | None, revision: Revision | None) -> None:
        if revision is not None:
            self._metrics.revision_acted(revision.committed_at)
            if revision != before:
                self._log.info("acts on a revision", revision=short(revision.commit))

    @isolated
    def refreshed(self, found: "Refreshed", state: RevisionState, seconds: float) -> None:
        """The git source was refreshed. `state` is the one after it."""
        refused = state.refused
        reason = refused.reason if refused is not None else None
        self._metrics.source_refreshed(state.fetched_at, found.failure, reason, seconds)
        failed_before, self._fetch_failure = self._fetch_failure, found.failure
        if found.failure is not None and found.failure is not failed_before:
            error, hint = failure_sentence(found.failure)
            detail = found.detail or None
            self._log.warning("a fetch failed", cause=found.failure.value, error=error, detail=detail, hint=hint)
        elif failed_before is not None and found.failure is None:
            self._log.warning("the git source can be fetched again")
        if refused is None:
            self._refusal_logged = ""
            return
        error, hint = refusal_sentence(refused)
        if error != self._refusal_logged:
            self._refusal_logged = error
            commits = {"revision": short(refused.revision), "commit": short(refused.commit)}
            self._log.error("refused a revision", **commits, reason=refused.reason.value, error=error, hint=hint)

    @isolated
    def first_store_created(self, name: str, starts: int) -> None:
        """The agent created a store, and the source has requests. It verifies all of them, and Assure bills them."""
        self._log.warning(
            "the agent created a new store: it verifies every request of the source, and Assure bills them",
            store=name,
            starts=starts,
            hint="if they were verified before, stop the agent, and set STATE_URL to the earlier store",
        )

    def circuit_changed(self, opened: OpenCircuit | None, detail: str) -> None:
        """The circuit breaker opened, closed, or changed its cause. `detail`: the endpoint troubles, in sentences."""
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
            self._log.warning("endpoint trouble ended", endpoint=name, cause=before.cause.value, address=before.address)
            return
        grave = after.cause is EndpointCause.CREDENTIALS
        self._log.log(
            logging.ERROR if grave else logging.WARNING,
            "endpoint trouble" if before is None else "endpoint trouble changed",
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
        """The agent read from Assure what the store may lack."""
        recovery = report.recovery
        counts = {"dossiers": report.claimed, "unclaimed": report.unclaimed, "waiting": report.waiting}
        if report.closed:
            self._log.warning("recovered", reason=recovery.cause, **counts)
            return
        self._log.error(
            "the store was lost or replaced; the agent adopts its dossiers at Assure and starts nothing new",
            reason=recovery.cause,
            hint="check the held requests with `assure-agent get`, then run `assure-agent approve`",
            **counts,
        )

    @isolated
    def lists_checked(self, readable: bool) -> None:
        """Log if Assure's lists become readable or unreadable. The detection of a rollback needs them."""
        before, self._lists_readable = self._lists_readable, readable
        if before and not readable:
            self._log.error(
                "Assure's lists cannot be read: the agent cannot detect a rollback of its store",
                hint="see assure_agent_api_requests_total for the failed operations; the agent tries again",
            )
        elif readable and not before:
            self._log.warning("Assure's lists can be read again")

    @isolated
    def checkpointed(self, lines: Iterable[Checkpoint]) -> None:
        """Log the hash of each new checkpoint.

        Logs usually leave the machine. Therefore a change of both the store and the checkpoints leaves a trace.
        """
        for line in lines:
            if line.kind == BREAK:
                self._log.error("the audit log was changed", hint="find the change with `assure-agent audit verify`")
            self._log.info("checkpoint", checkpoint=line.number, events=line.event, digest=line.hash)

    @isolated
    def checkpoint_failed(self, error: Exception) -> None:
        """A checkpoint could not be written."""
        cause = str(error) if isinstance(error, AgentError) else getattr(error, "strerror", None)
        hint = error.hint if isinstance(error, AgentError) else ""
        hint = hint or "free disk space, and let the agent write to the state folder; it tries again in five minutes"
        self._log.error("checkpoint failed", error=type(error).__name__, cause=cause, hint=hint)

    @isolated
    def watch_failed(self, error: Exception) -> None:
        """The system cannot watch the source for changes."""
        self._log.warning(
            "the agent cannot watch the source, and scans it at intervals",
            error=type(error).__name__,
            cause=getattr(error, "strerror", None),
            hint="raise fs.inotify.max_user_watches and max_user_instances, or let the agent's user read the folder"
            if isinstance(error, OSError)
            else None,
        )

    @isolated
    def moved(self, uid: str) -> None:
        """A record changed in the store while the agent worked on it. With SQLite, this never happens without a bug."""
        self._metrics.moved()
        self._log.error("a record changed meanwhile", uid=uid, hint="report it; the agent reads the record again")

    @isolated
    def bug(self, uid: str, error: Exception) -> None:
        """A bug stopped the work on one request."""
        self._log.error(
            "internal error", uid=uid, error=f"{type(error).__name__}: {error}", hint="report it; the request waits"
        )
