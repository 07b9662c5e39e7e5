"""The agent: one store, one Assure account, and the loops that reconcile them."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable, Coroutine

from agent.admission.triggers import scan_after_events
from agent.assure.account import need_credentials
from agent.controller.result_poller import ResultPoller
from agent.core.errors import AgentError
from agent.core.observations import RetryRequested
from agent.core.step import Step
from agent.daemon.backups import need_backup_folder
from agent.daemon.clock_correction import ClockCorrector
from agent.daemon.composition import (
    build_admission,
    build_assure,
    build_commands,
    build_common,
    build_controller,
    build_erasure,
    build_maintenance,
    build_store,
    build_web,
)
from agent.daemon.control_socket import serve_control_socket, socket_path
from agent.daemon.first_scan import first_scan
from agent.daemon.integrity_check import IntegrityCheck
from agent.daemon.once_result import OnceResult
from agent.daemon.pause import WorkGate
from agent.daemon.scheduler import Scheduler
from agent.daemon.shared_watch import SharedWatch
from agent.daemon.startup import is_new, log_start, reach, report_first_store
from agent.platform.clock import Anchor, SystemClock
from agent.platform.endpoint_health import RECOVERY_SECONDS
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.platform.settings import Settings, refuse_renamed
from agent.ports import Clock, Command, MetaKey, SharedState
from agent.source.watch import watching
from agent.store.contract import Store

_DRAIN_TIMEOUT = 10.0  # seconds to wait for open calls after `stop`
_RECOVERY_INTERVAL = 5.0  # seconds between two searches for changes that a recovering store may lack


class Agent:
    """One agent on one store. `opened` creates and closes it."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        metrics: Metrics,
        clock: Clock,
        on_step: Callable[[Step], None],
        system: SystemClock | None = None,
    ) -> None:
        """`system` is the host's clock, which the agent corrects; None if `clock` is another one."""
        common = build_common(settings, store, metrics, clock, on_step)
        self._settings, self._store, self._clock = settings, store, clock
        self._telemetry, self._health, self._shutdown = common.telemetry, common.health, common.shutdown
        self._log = logger()
        self._url = ""  # of LISTEN, while the agent runs
        self.events_url: str | None = None  # receives Assure Events and hooks, while the agent runs
        self._integrity = IntegrityCheck(store, self._shutdown)
        self._assure = assure = build_assure(common, self._date_received)
        self._throttle, self._rate_limiter = assure.throttle, assure.rate_limiter
        controller = build_controller(common, assure, self._step_committed)
        self.reconciler, self._orphans = controller.reconciler, controller.orphans
        self._budget = controller.budget
        admission = build_admission(common, assure, self.reconciler)
        self._admission, self._revisions = admission.admission, admission.revisions
        self._sync_triggers = admission.triggers
        self._clock_corrector = (
            ClockCorrector(system, store, assure.remote, self.reconciler, metrics, self._shutdown) if system else None
        )
        self._work_gate = WorkGate(store, self.reconciler, controller.recovery, self._telemetry, self._shutdown, clock)
        self._erasure = build_erasure(common, self.reconciler, self._admission)
        self._maintenance = build_maintenance(common, assure, self._orphans, self._erasure)
        self._result_poller = ResultPoller(store, assure.remote, self.reconciler, clock)
        self._http_service = build_web(common, assure, controller, admission.fetch_now)
        wakes = self.reconciler.wake, self._http_service.wake
        hooks = self._work_gate.refresh, self._apply_command, self._shared_state_read, wakes, self._shutdown.fail
        self._shared_watch = SharedWatch(store, *hooks)
        self._control = build_commands(common, self.reconciler, admission, self._command_executed, self.page_link)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        settings: Settings,
        on_step: Callable[[Step], None] = lambda step: None,
        clock: Clock | None = None,
        account: str = "",
        rebind: bool = False,
    ) -> AsyncIterator["Agent"]:
        """Open the store and the client. Raises SettingsError or StoreError before the agent starts any work.

        The store is bound to `account`, by default the client id at the base URL.
        """
        need_credentials(settings)
        need_backup_folder(settings)
        system = SystemClock() if clock is None else None
        clock = clock or system
        assert clock is not None
        metrics = Metrics(clock)
        store = await build_store(settings, metrics, account, rebind)
        try:
            if system is not None and store.database_time is not None:
                system.follow(store.database_time)
            elif system is not None:
                anchor = Anchor.read(await store.recall(MetaKey.CLOCK))
                system.resume(await store.last_event_at(), anchor)
            refuse_renamed(settings.source_name, await store.other_source(settings.source_name))
            agent = cls(settings, store, metrics, clock, on_step, system)
            await agent._load()
            try:
                yield agent
            finally:
                await agent._assure.document_types.aclose()
                await agent._assure.client.aclose()
        finally:
            await store.aclose()

    async def _load(self) -> None:
        """Read what the loops need of the store before they begin."""
        await self._budget.count()
        if self._clock_corrector is not None and self._store.database_time is None:
            await self._clock_corrector.resume()

    async def run(self, on_listening: Callable[[str], None] = lambda url: None) -> None:
        """Run until `stop`. Raises the error that ended the agent otherwise."""
        async with self._running(on_listening, wait_for_assure=True):
            await self._shutdown.requested.wait()

    async def run_once(
        self,
        timeout: float,  # noqa: ASYNC109 - a limit of the work, not of one call
        on_listening: Callable[[str], None] = lambda url: None,
    ) -> OnceResult:
        """Run until every request is settled, `timeout` seconds have passed, or `stop`."""
        end = self._clock.now() + timeout
        waiting = asyncio.create_task(self._end_waits(timeout))
        try:
            return await self._run_to(end, on_listening)
        finally:
            waiting.cancel()

    async def _end_waits(self, seconds: float) -> None:
        """After so many seconds, wait no longer for a database that is away."""
        await self._clock.wait(asyncio.Event(), seconds)
        self._store.begin_end()

    async def _run_to(self, end: float, on_listening: Callable[[str], None]) -> OnceResult:
        async with self._running(on_listening, wait_for_assure=False):
            await self._sync_triggers.scan_until_settled()
            while not self._shutdown.requested.is_set():
                settled = self.reconciler.idle and not await self._store.unsettled(self.reconciler.paused)
                if settled and not await self._sync_triggers.rescan_unresolved():
                    break
                if self._clock.now() >= end + self._corrected():
                    return OnceResult.after(self._telemetry.last_sync, unfinished=await self._store.unsettled())
                await self._clock.wait(self._shutdown.requested, 0.1)
            else:
                return OnceResult.after(self._telemetry.last_sync, unfinished=await self._store.unsettled())
            await self._orphans.sweep(at_once=True)
            await self._erasure.erase_due()
            await self._shutdown.run_until_requested(self._integrity.finished())
            gated = self.reconciler.recovering and self.reconciler.paused
        return OnceResult.after(self._telemetry.last_sync, unfinished=gated and await self._store.unsettled())

    def page_link(self) -> str:
        """Return a new one-time link to the status page. It is a bearer secret: never log it."""
        self._log.info("created a link to the status page")
        return self._http_service.page_link(self._url)

    def _corrected(self) -> float:
        return self._clock_corrector.corrected_seconds if self._clock_corrector is not None else 0.0

    def stop(self) -> None:
        """Start no new calls, save open answers, and end."""
        self._store.begin_end()
        self._shutdown.request()

    @contextlib.asynccontextmanager
    async def _running(self, on_listening: Callable[[str], None], wait_for_assure: bool) -> AsyncIterator[None]:
        """Run all loops while the block runs. On leaving, save the answers of open calls within `_DRAIN_TIMEOUT`."""
        control = serve_control_socket(self._control, socket_path(self._settings.local_path))
        async with self._http_service.running() as (self._url, self.events_url), control, self._integrity.running():
            on_listening(self._url)
            log_start(self._settings, self._url, self.events_url)
            await self._apply_changes_since_stop()
            await self._erasure.start(deletes=self._settings.images_after_upload == "delete")
            # An older store needs the complete scan first: a recovery compares its requests with Assure's lists.
            gradually = wait_for_assure and await is_new(self._store)
            finished, failed = self._first_scan_finished, self._shutdown.fail
            scan = self._revisions.first_scan if self._revisions is not None else self._sync_triggers.scan
            async with first_scan(scan, gradually, finished, failed):
                await reach(self._assure.client, self._settings, wait_for_assure, self._shutdown, self._clock)
                if self._clock_corrector is not None:
                    await self._clock_corrector.confirm_at_start()
                    await self._erasure.erase_due()
                await self._work_gate.run_recovery(first=True)
                async with self._loops(follow_source=wait_for_assure):
                    yield
        if self._shutdown.failure is not None:
            raise self._shutdown.failure

    async def _first_scan_finished(self) -> None:
        await report_first_store(self._store, self._settings, self._telemetry)
        gc.freeze()  # objects of a large folder live as long as the process: the collector need not visit them

    @contextlib.asynccontextmanager
    async def _loops(self, follow_source: bool) -> AsyncIterator[None]:
        """Run the loops while the block runs."""
        scheduler = self._start_timers()
        driving = asyncio.create_task(self._drive())
        readers = self._start_readers()
        following = asyncio.create_task(self._follow_source()) if follow_source else None
        try:
            yield
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            scheduler.stop()
            self.stop()
            await self._drain(driving)
            for task in readers:
                task.cancel()
            await asyncio.gather(*readers, return_exceptions=True)
            await self._health.flush()
            await self._maintenance.checkpoint()
            self._log.info("ended")

    def _start_timers(self) -> Scheduler:
        scheduler = Scheduler(self._shutdown.fail)
        if self._revisions is None:
            scheduler.every(self._settings.scan_interval, self.scan)
        scheduler.every(_RECOVERY_INTERVAL, self._work_gate.run_recovery)
        scheduler.every(RECOVERY_SECONDS, self._health.end_recovered)
        self._maintenance.schedule(scheduler)
        scheduler.start()
        return scheduler

    def _start_readers(self) -> list[asyncio.Task[None]]:
        """Start the loops that only read, which may be cancelled at any time."""
        poller = self._result_poller.run(self._settings.poll_interval, self._throttle.is_closed, self._shutdown)
        loops: list[Coroutine[None, None, None]] = [poller, self._throttle.run_probes()]
        if self._clock_corrector is not None:
            loops.append(self._clock_corrector.run())
        if self._store.shared:
            loops += self._shared_watch.run(), self._throttle.run_shared()
        return [asyncio.create_task(loop) for loop in loops]

    async def _drive(self) -> None:
        try:
            await self.reconciler.run()
        except AgentError as error:
            self._shutdown.fail(error)
        except Exception as error:  # a bug: without this loop, the agent must end
            self._shutdown.fail(AgentError(f"The drive loop ended with {type(error).__name__}: {error}.", "report it"))

    async def _drain(self, driving: asyncio.Task[None]) -> None:
        self.reconciler.stop()
        done, _ = await asyncio.wait({driving}, timeout=_DRAIN_TIMEOUT)
        if not done:
            self._log.warning("some calls were not answered in time; they are resumed at the next start")
            await self.reconciler.cancel_all()
            await driving

    async def _apply_changes_since_stop(self) -> None:
        """Apply the current pause, start budget and images to the stored requests."""
        await self._health.reset()
        await self._work_gate.start()
        now = self._clock.now()
        if self._revisions is None:  # a folder: forget the failure and the refusal of an earlier SOURCE_URL
            await self._store.record_refresh(self._settings.source_name, now, False, None, None)
        waiting = await self._store.awaiting_budget_or_images()
        await self.reconciler.deliver({uid: RetryRequested(at=now) for uid in waiting})

    async def _command_executed(self, command: Command) -> None:
        """This process executed a command."""
        if self._store.shared:
            self._shared_watch.ignore(command)
        await self._apply_command(command)

    async def _apply_command(self, command: Command) -> None:
        """A command was executed, here or by another process."""
        self._telemetry.command_executed(command)
        if command.verb == "resume":
            self._throttle.trust_missing()
        if command.verb == "approve" and self._revisions is not None:
            self._revisions.fetch_now()
        await self._work_gate.refresh()
        self.reconciler.wake()

    def _shared_state_read(self, state: SharedState) -> None:
        """Take the part of this replica in what all replicas share."""
        self._rate_limiter.bucket.share(state.replicas)
        self._throttle.apply_shared(state.circuit)
        self.reconciler.share(state.replicas)
        self._budget.counted(state.starts)

    async def scan(self) -> None:
        """Scan the source; scan again shortly after if a file is still being written."""
        await self._sync_triggers.scan()

    async def _follow_source(self) -> None:
        if self._revisions is not None:
            await self._revisions.run()
            return
        with watching(self._settings.specs_dir, self._telemetry.watch_failed) as changed:
            await scan_after_events(self._admission, changed, self._shutdown.fail)

    def _step_committed(self, step: Step) -> None:
        self._http_service.wake()
        self._telemetry.step_committed(step)

    def _date_received(self, date: float | None, seconds: float) -> None:
        if self._clock_corrector is not None:
            self._clock_corrector.record_date(date, seconds)
