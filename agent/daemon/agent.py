"""The agent put together: store, client, loops and HTTP surface, from the first scan to the last answer."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from agent import __version__
from agent.admission import Admission, AdmissionRules
from agent.admission.triggers import SyncTriggers
from agent.assure.account import account_of, addresses, client_config, need_credentials
from agent.assure.client import AssureClient
from agent.assure.document_type_cache import DocumentTypeCache
from agent.assure.rate_limit import RateLimiter
from agent.assure.throttle import Throttle
from agent.assure.token import TokenAnswer
from agent.controller.erasure import Erasure
from agent.controller.interpreter import Interpreter
from agent.controller.orphan_collector import OrphanCollector
from agent.controller.reconciler import Reconciler
from agent.controller.recovery import StoreRecovery
from agent.controller.result_poller import ResultPoller
from agent.controller.start_budget import StartBudget
from agent.core.answer import Operation
from agent.core.errors import AgentError
from agent.core.machine import Step
from agent.core.observations import RetryRequested
from agent.daemon.backups import Backups
from agent.daemon.clock_correction import ClockCorrector
from agent.daemon.commands import CommandHandler
from agent.daemon.control_socket import serve_control_socket, socket_path
from agent.daemon.health import AgentHealth
from agent.daemon.maintenance import Maintenance
from agent.daemon.pause import WorkGate
from agent.daemon.scheduler import Scheduler
from agent.daemon.startup import reach
from agent.daemon.telemetry import Telemetry
from agent.platform.clock import ANCHOR, Anchor, SystemClock
from agent.platform.endpoint_health import ASSURE, RECOVERY_SECONDS, TOKEN, EndpointHealth
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.platform.settings import Settings, refuse_renamed
from agent.platform.shutdown import Shutdown
from agent.ports import Clock, Command
from agent.source.folder import Folder
from agent.source.git_provenance import GitCheckout
from agent.source.images import ImageFolder
from agent.source.watch import watching
from agent.store.readonly import ReadOnlyStore
from agent.store.sqlite import SqliteStore
from agent.web.agent_status import AgentStatus
from agent.web.recent_calls import RecentCalls
from agent.web.service import HttpService, sink_ids

_DRAIN_TIMEOUT = 10.0  # seconds that open calls get after a shutdown request
_RECOVERY_INTERVAL = 5.0  # seconds between two looks for what a recovering store may have missed


@dataclass(frozen=True, slots=True, kw_only=True)
class OnceResult:
    """How `run --once` ended."""

    refused: int
    withdrawals: int  # that wait for a person's approval
    unfinished: bool


class Agent:
    """One agent on one store. Made by `opened`, which also closes it."""

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        metrics: Metrics,
        clock: Clock,
        on_step: Callable[[Step], None],
        system: SystemClock | None = None,
    ) -> None:
        """`system` is the clock where it is the host's: then it is kept right."""
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._log = logger()
        self._telemetry = Telemetry(metrics, on_step)
        self._shutdown = Shutdown()
        self._endpoints = EndpointHealth(addresses(settings), clock)
        metrics.endpoints(addresses(settings))
        self._health = AgentHealth(store, self._telemetry, self._shutdown, self._endpoints)
        self._endpoints.subscribe(self._health.endpoint_changed)
        self._integrity_check: asyncio.Task[None]
        self._url = ""  # of LISTEN, while it runs
        self.events_url: str | None = None  # where Assure Events are received, while it runs
        self._recent_calls = RecentCalls(clock)
        chance = random.random  # pace, not secrecy
        self._rate_limiter = RateLimiter(settings.rate_limit, clock)
        self._client = AssureClient(
            client_config(settings),
            clock,
            self._called,
            acquire=self._rate_limiter.acquire,
            on_token_answer=self._token_answered,
            on_answer=partial(self._endpoints.record_answer, ASSURE),
            on_date=self._date_received,
        )
        rules = AdmissionRules.of(settings, store.keys.agent_id())
        self._throttle = Throttle(
            self._client,
            self._rate_limiter,
            clock,
            chance,
            rules.is_own_reference,
            self._health.circuit_changed,
            self._client.authenticate,
        )
        self._remote = self._client.through(self._throttle)
        self._document_types = DocumentTypeCache(self._remote, store, clock)
        pictures = ImageFolder(settings.images_dir, settings.max_image_bytes)
        self._budget = StartBudget(settings.max_starts_per_day, store, clock)
        metrics.start_budget(lambda: self._budget.left)
        metrics.backups(settings.backup_interval if settings.backup_dir is not None else 0.0)
        self.reconciler = Reconciler(
            store,
            Interpreter(
                self._remote, pictures, self._document_types, self._budget, clock, chance, store.claims.keyring
            ),
            clock,
            settings.policy,
            settings.concurrency,
            chance,
            self._step_committed,
            self._telemetry.bug,
            self._throttle,
        )
        folder = Folder.of(settings)
        self._admission = Admission(
            folder,
            rules,
            store,
            self.reconciler,
            store.keys,
            self._document_types,
            clock,
            self._telemetry.sync_finished,
            GitCheckout(settings.specs_dir),
        )
        self._clock_corrector = (
            ClockCorrector(system, store, self._remote, self.reconciler, metrics, self._shutdown) if system else None
        )
        self._orphans = OrphanCollector(store, self._remote, clock)
        sole = not settings.agent_id
        regain = StoreRecovery(store, store.recoveries, self._remote, self.reconciler, clock, rules.agent_id, sole)
        self._work_gate = WorkGate(store, self.reconciler, regain, self._telemetry, self._shutdown, clock)
        self._sync_triggers = SyncTriggers(self._admission, self._shutdown, clock)
        self._backups = Backups(
            store, clock, settings.state_path, settings.backup_dir, settings.backup_interval, settings.backup_keep
        )
        images = (settings.images_dir, settings.max_image_bytes)
        self._erasure = Erasure(store, self.reconciler, images, self._admission.exclusive, clock)
        self._maintenance = Maintenance(
            store, self._throttle, self._orphans, self._backups, self._erasure, self._telemetry, clock
        )
        self._result_poller = ResultPoller(store, self._remote, self.reconciler, clock)
        source, keys = settings.source_name, store.keys
        self._control = CommandHandler(
            store,
            lambda name: keys.uid(source, name),
            self.reconciler.deliver,
            self._admission.find_document,
            clock,
            self._command_executed,
            self.reconciler.retract,
            self.page_link,
        )
        self._http_service = HttpService(
            settings,
            store,
            metrics,
            self._status(),
            self._endpoints,
            self.reconciler.deliver,
            chance,
            self._shutdown.fail,
        )

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
        """Open the store and the client. Raises SettingsError or StoreError before anything is done.

        The store is bound to `account`, by default the client id, the base URL, and the host of tokens.
        """
        need_credentials(settings)
        system = SystemClock() if clock is None else None
        clock = clock or system
        assert clock is not None
        metrics = Metrics(clock)
        account = account or account_of(settings)
        claims_key = settings.claims_key.get_secret_value()
        store = SqliteStore(settings.state_path, account, metrics.committed, rebind, sink_ids(settings), claims_key)
        try:
            if system is not None:
                system.resume(store.last_event_at(), Anchor.read(store.recall(ANCHOR)))
            refuse_renamed(settings.source_name, store.other_source(settings.source_name))
            metrics.register_store(lambda: ReadOnlyStore(settings.state_path))
            agent = cls(settings, store, metrics, clock, on_step, system)
            try:
                yield agent
            finally:
                await agent._document_types.aclose()
                await agent._client.aclose()
        finally:
            store.close()

    # -- running --------------------------------------------------------------------------------------------

    async def run(self, on_listening: Callable[[str], None] = lambda url: None) -> None:
        """Run until `stop`. Raises what ended it otherwise."""
        async with self._running(on_listening, wait_for_assure=True):
            await self._shutdown.requested.wait()

    async def run_once(
        self,
        timeout: float,  # noqa: ASYNC109 - a limit of the work, not of one call
        on_listening: Callable[[str], None] = lambda url: None,
    ) -> OnceResult:
        """Run until everything is settled as far as it can be, or `timeout` seconds have passed, or `stop`."""
        end = self._clock.now() + timeout
        async with self._running(on_listening, wait_for_assure=False):
            await self._sync_triggers.scan_until_settled()
            while not self._shutdown.requested.is_set() and self._clock.now() < end + self._corrected():
                settled = self.reconciler.idle and not self._store.unsettled(self.reconciler.paused)
                if settled and not await self._sync_triggers.rescan_unresolved():
                    break
                await self._clock.wait(self._shutdown.requested, 0.1)
            else:
                return self._finished(unfinished=self._store.unsettled())
            await self._orphans.sweep(at_once=True)
            await self._erasure.erase_due()
            await self._shutdown.run_until_requested(self._integrity_checked())
            gated = self.reconciler.recovering and self.reconciler.paused
        return self._finished(unfinished=gated and self._store.unsettled())

    def page_link(self) -> str:
        """A new one-time link to the status page, while it runs: a bearer secret, for a terminal and no log."""
        self._log.info("a link to the status page was made")
        return self._http_service.page_link(self._url)

    def _corrected(self) -> float:
        return self._clock_corrector.corrected_seconds if self._clock_corrector is not None else 0.0

    def stop(self) -> None:
        """Ask for nothing new, save what is answered, and end."""
        self._shutdown.request()

    def _finished(self, unfinished: bool) -> OnceResult:
        last = self._telemetry.last_sync
        refused = {(fault.file, fault.name or fault.line) for fault in last.refusals} if last else set()
        waiting = last.waiting if last else 0
        return OnceResult(refused=len(refused), withdrawals=waiting, unfinished=unfinished)

    @contextlib.asynccontextmanager
    async def _running(self, on_listening: Callable[[str], None], wait_for_assure: bool) -> AsyncIterator[None]:
        """Everything runs inside of this; on leaving, what is under way is answered and saved, in bounded time."""
        control = serve_control_socket(self._control, socket_path(self._settings.state_path))
        async with self._http_service.running() as (self._url, self.events_url), control, self._checking_integrity():
            on_listening(self._url)
            self._log.info(
                "started",
                version=__version__,
                address=self._url,
                events=self.events_url,
                source=str(self._settings.specs_dir.absolute()),
                images=str(self._settings.images_dir.absolute()),
                store=str(self._settings.state_path.absolute()),
            )
            await self._apply_changes_since_stop()
            await self._erasure.start(deletes=self._settings.images_after_upload == "delete")
            await self.scan()
            self._report_first_store()
            gc.freeze()  # what a large folder holds lives as long as we do: no collection has to walk through it
            await reach(self._client, self._settings, wait_for_assure, self._shutdown, self._clock)
            if self._clock_corrector is not None:
                await self._clock_corrector.confirm_at_start()
                await self._erasure.erase_due()
            await self._work_gate.run_recovery(first=True)
            scheduler = Scheduler(self._shutdown.fail)
            scheduler.every(self._settings.scan_interval, self.scan)
            scheduler.every(_RECOVERY_INTERVAL, self._work_gate.run_recovery)
            scheduler.every(RECOVERY_SECONDS, self._settle_endpoints)
            self._maintenance.schedule(scheduler)
            scheduler.start()
            driving = asyncio.create_task(self._drive())
            reading = [
                asyncio.create_task(
                    self._result_poller.run(self._settings.poll_interval, self._throttle.is_closed, self._shutdown)
                ),
                asyncio.create_task(self._throttle.run_probes()),
                *([asyncio.create_task(self._clock_corrector.run())] if self._clock_corrector is not None else ()),
            ]
            following = asyncio.create_task(self._follow_source()) if wait_for_assure else None
            try:
                yield
            finally:
                if following is not None:
                    following.cancel()
                    await asyncio.gather(following, return_exceptions=True)
                scheduler.stop()
                self.stop()
                await self._drain(driving)
                for task in reading:  # they only read
                    task.cancel()
                await asyncio.gather(*reading, return_exceptions=True)
                await self._health.flush()
                await self._maintenance.checkpoint()
                self._log.info("ended")
        if self._shutdown.failure is not None:
            raise self._shutdown.failure

    @contextlib.asynccontextmanager
    async def _checking_integrity(self) -> AsyncIterator[None]:
        """Meanwhile the whole store is looked through; an agent on a damaged one ends."""

        async def look() -> None:
            try:
                await self._store.check_integrity()
            except AgentError as error:
                self._shutdown.fail(error)

        self._integrity_check = asyncio.create_task(look())
        try:
            yield
        finally:
            self._integrity_check.cancel()
            await asyncio.wait({self._integrity_check})

    async def _integrity_checked(self) -> None:
        await asyncio.wait({self._integrity_check})

    def _report_first_store(self) -> None:
        recoveries = self._store.recoveries
        starts = self._store.count_progressing() if recoveries.fresh and recoveries.open() is None else 0
        if starts and not self._store.simulated:
            self._telemetry.first_store_created(self._settings.state_path.absolute(), starts)

    async def _drive(self) -> None:
        try:
            await self.reconciler.run()
        except AgentError as error:
            self._shutdown.fail(error)
        except Exception as error:  # a bug of ours; without its loop the agent is none
            self._shutdown.fail(AgentError(f"The drive loop ended: {type(error).__name__}: {error}.", "report it"))

    async def _drain(self, driving: asyncio.Task[None]) -> None:
        self.reconciler.stop()
        done, _ = await asyncio.wait({driving}, timeout=_DRAIN_TIMEOUT)
        if not done:
            self._log.warning("some calls were not answered in time; they are resumed at the next start")
            await self.reconciler.cancel_all()
            await driving

    async def _apply_changes_since_stop(self) -> None:
        """What changed while no agent ran: what people said, the budget, the images."""
        await self._health.reset()
        await self._work_gate.start()
        now = self._clock.now()
        await self.reconciler.deliver({uid: RetryRequested(at=now) for uid in self._store.awaiting_budget_or_images()})

    def _command_executed(self, command: Command) -> None:
        self._telemetry.command_executed(command)
        if command.verb == "resume":
            self._throttle.trust_missing()
        self._work_gate.refresh()
        self.reconciler.wake()

    async def scan(self) -> None:
        """Scan the source; again while files change."""
        await self._sync_triggers.scan()

    async def _follow_source(self) -> None:
        with watching(self._settings.specs_dir, self._telemetry.watch_failed) as changed:
            await self._sync_triggers.follow(changed)

    def _step_committed(self, step: Step) -> None:
        self._telemetry.step_committed(step)
        self._http_service.wake()

    def _token_answered(self, answer: TokenAnswer) -> None:
        self._endpoints.record_answer(TOKEN, answer)
        self._throttle.token_answered(answer)

    async def _settle_endpoints(self) -> None:
        self._endpoints.end_recovered()

    def _date_received(self, date: float | None, seconds: float) -> None:
        if self._clock_corrector is not None:
            self._clock_corrector.record_date(date, seconds)

    def _called(self, operation: Operation, result: str, seconds: float) -> None:
        self._metrics.called(operation, result, seconds)
        self._recent_calls.record_call(operation, result, seconds)

    # -- how it is ------------------------------------------------------------------------------------------

    def _status(self) -> AgentStatus:
        limit = self._settings.max_starts_per_day
        return AgentStatus(
            source=self._settings.source_name,
            policy=self._settings.policy,
            clock=self._clock,
            recent_calls=self._recent_calls,
            ready=self._health.not_ready_reason,
            paused=lambda: self.reconciler.paused,
            budget=lambda: (self._budget.left or 0, limit) if limit else None,
            circuit=self._health.circuit_reason,
            troubles=self._health.troubles,
        )
