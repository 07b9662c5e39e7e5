"""The agent put together: store, client, loops and HTTP surface, from the first scan to the last answer."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial

from agent import __version__
from agent.admission import Admission, Rules
from agent.assure.account import account_of, addresses, client_config, need_credentials
from agent.assure.client import AssureClient
from agent.assure.document_type_cache import Catalogue
from agent.assure.rate_limit import Turns
from agent.assure.throttled_client import Limited
from agent.assure.token import TokenAnswer
from agent.controller.erasure import Erasure
from agent.controller.interpreter import Interpreter
from agent.controller.orphan_collector import OrphanSweep
from agent.controller.pictures import PictureFolder
from agent.controller.reconciler import Reconciler
from agent.controller.recovery import Regain
from agent.controller.result_poller import Observer
from agent.controller.start_budget import StartBudget
from agent.core.answer import Operation
from agent.core.errors import AgentError
from agent.core.machine import Step
from agent.core.observations import Reconsidered
from agent.daemon.backups import Backups
from agent.daemon.clock_correction import Timekeeping
from agent.daemon.commands import Control
from agent.daemon.control_socket import hearing, socket_of
from agent.daemon.health import Condition
from agent.daemon.maintenance import Upkeep
from agent.daemon.pause import Pausing
from agent.daemon.scanning import Scanning
from agent.daemon.scheduler import Scheduler
from agent.daemon.startup import reach
from agent.daemon.telemetry import Chronicle
from agent.platform.clock import ANCHOR, Anchor, SystemClock
from agent.platform.endpoint_health import ASSURE, QUIET, TOKEN, Endpoints
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.platform.settings import Settings, refuse_renamed
from agent.platform.shutdown import Ending
from agent.ports import Clock, Command
from agent.source.folder import Folder
from agent.source.git_provenance import Checkout
from agent.source.watch import watching
from agent.store.readonly import Reading
from agent.store.sqlite import SqliteStore
from agent.web.agent_status import Standing
from agent.web.recent_calls import Pulse
from agent.web.service import Outward, sink_ids

_DRAIN = 10.0  # seconds that answers may take once we are told to end
_RECOVER = 5.0  # seconds between two looks for what a recovering store may have missed


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How `run --once` ended."""

    refused: int
    withdrawals: int  # that wait for a person's approval
    still_moving: bool


class Agent:
    """One agent on one store. Made by `opened`, which also closes it."""

    def __init__(
        self,
        settings: Settings,
        store: SqliteStore,
        metrics: Metrics,
        clock: Clock,
        seen: Callable[[Step], None],
        system: SystemClock | None = None,
    ) -> None:
        """`system` is the clock where it is the host's: then it is kept right."""
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._log = logger()
        self._chronicle = Chronicle(metrics, seen)
        self._ending = Ending()
        self._endpoints = Endpoints(addresses(settings), clock)
        metrics.endpoints(addresses(settings))
        self._condition = Condition(store, self._chronicle, self._ending, self._endpoints)
        self._endpoints.listen(self._condition.endpoint_changed)
        self._look_through: asyncio.Task[None]
        self._url = ""  # of LISTEN, while it runs
        self.events_url: str | None = None  # where Assure Events are received, while it runs
        self._pulse = Pulse(clock)
        chance = random.random  # pace, not secrecy
        self._turns = Turns(settings.rate_limit, clock)
        self._client = AssureClient(
            client_config(settings),
            clock,
            self._called,
            turn=self._turns.next,
            token_answered=self._token_answered,
            answered=partial(self._endpoints.answered, ASSURE),
            dated=self._dated,
        )
        rules = Rules.of(settings, store.keys.agent_id())
        self._remote = Limited(
            self._client,
            self._turns,
            clock,
            chance,
            rules.ours,
            self._condition.circuit_turned,
            self._client.authenticate,
        )
        self._catalogue = Catalogue(self._remote, store, clock)
        pictures = PictureFolder(settings.images_dir, settings.max_image_bytes)
        self._budget = StartBudget(settings.max_starts_per_day, store, clock)
        metrics.brake(lambda: self._budget.left)
        metrics.backups(settings.backup_interval if settings.backup_dir is not None else 0.0)
        self.reconciler = Reconciler(
            store,
            Interpreter(self._remote, pictures, self._catalogue, self._budget, clock, chance, store.claims.vault),
            clock,
            settings.policy,
            settings.concurrency,
            chance,
            self._stepped,
            self._chronicle.bug,
            self._remote,
        )
        folder = Folder.of(settings)
        self._admission = Admission(
            folder,
            rules,
            store,
            self.reconciler,
            store.keys,
            self._catalogue,
            clock,
            self._chronicle.synced,
            Checkout(settings.specs_dir),
        )
        self._timekeeping = (
            Timekeeping(system, store, self._remote, self.reconciler, metrics, self._ending) if system else None
        )
        self._orphans = OrphanSweep(store, self._remote, clock)
        sole = not settings.agent_id
        regain = Regain(store, store.recoveries, self._remote, self.reconciler, clock, rules.agent_id, sole)
        self._pausing = Pausing(store, self.reconciler, regain, self._chronicle, self._ending, clock)
        self._scanning = Scanning(self._admission, self._ending, clock)
        self._backups = Backups(
            store, clock, settings.state_path, settings.backup_dir, settings.backup_interval, settings.backup_keep
        )
        images = (settings.images_dir, settings.max_image_bytes)
        self._erasure = Erasure(store, self.reconciler, images, self._admission.undisturbed, clock)
        self._upkeep = Upkeep(store, self._remote, self._orphans, self._backups, self._erasure, self._chronicle, clock)
        self._observer = Observer(store, self._remote, self.reconciler, clock)
        source, keys = settings.source_name, store.keys
        self._control = Control(
            store,
            lambda name: keys.uid(source, name),
            self.reconciler.tell,
            self._admission.document,
            clock,
            self._commanded,
            self.reconciler.take_back,
            self.page_link,
        )
        self._outward = Outward(
            settings,
            store,
            metrics,
            self._standing(),
            self._endpoints,
            self.reconciler.tell,
            chance,
            self._ending.failed,
        )

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls,
        settings: Settings,
        seen: Callable[[Step], None] = lambda step: None,
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
            metrics.watch(lambda: Reading(settings.state_path))
            agent = cls(settings, store, metrics, clock, seen, system)
            try:
                yield agent
            finally:
                await agent._catalogue.aclose()
                await agent._client.aclose()
        finally:
            store.close()

    # -- running --------------------------------------------------------------------------------------------

    async def run(self, listening: Callable[[str], None] = lambda url: None) -> None:
        """Run until `stop`. Raises what ended it otherwise."""
        async with self._at_work(listening, patient=True):
            await self._ending.asked.wait()

    async def run_once(self, patience: float, listening: Callable[[str], None] = lambda url: None) -> Finished:
        """Run until everything is settled as far as it can be, or `patience` seconds have passed, or `stop`."""
        end = self._clock.now() + patience
        async with self._at_work(listening, patient=False):
            await self._scanning.until_settled()
            while not self._ending.asked.is_set() and self._clock.now() < end + self._corrected():
                still = self.reconciler.idle and not self._store.unsettled(self.reconciler.paused)
                if still and not await self._scanning.until_answered():
                    break
                await self._clock.wait(self._ending.asked, 0.1)
            else:
                return self._finished(still_moving=self._store.unsettled())
            await self._orphans.sweep(at_once=True)
            await self._erasure.tend()
            await self._ending.unless_asked(self._looked())
            gated = self.reconciler.recovering and self.reconciler.paused
        return self._finished(still_moving=gated and self._store.unsettled())

    def page_link(self) -> str:
        """A new one-time link to the status page, while it runs: a bearer secret, for a terminal and no log."""
        self._log.info("a link to the status page was made")
        return self._outward.page_link(self._url)

    def _corrected(self) -> float:
        return self._timekeeping.corrected if self._timekeeping is not None else 0.0

    def stop(self) -> None:
        """Ask for nothing new, save what is answered, and end."""
        self._ending.ask()

    def _finished(self, still_moving: bool) -> Finished:
        last = self._chronicle.last
        refused = {(fault.file, fault.name or fault.line) for fault in last.refusals} if last else set()
        waiting = last.waiting if last else 0
        return Finished(refused=len(refused), withdrawals=waiting, still_moving=still_moving)

    @contextlib.asynccontextmanager
    async def _at_work(self, listening: Callable[[str], None], patient: bool) -> AsyncIterator[None]:
        """Everything runs inside of this; on leaving, what is under way is answered and saved, in bounded time."""
        control = hearing(self._control, socket_of(self._settings.state_path))
        async with self._outward.at_work() as (self._url, self.events_url), control, self._looking_through():
            listening(self._url)
            self._log.info(
                "started",
                version=__version__,
                address=self._url,
                events=self.events_url,
                source=str(self._settings.specs_dir.absolute()),
                images=str(self._settings.images_dir.absolute()),
                store=str(self._settings.state_path.absolute()),
            )
            await self._adjust()
            await self._erasure.begin(deletes=self._settings.images_after_upload == "delete")
            await self.scan()
            self._tell_first_store()
            gc.freeze()  # what a large folder holds lives as long as we do: no collection has to walk through it
            await reach(self._client, self._settings, patient, self._ending, self._clock)
            if self._timekeeping is not None:
                await self._timekeeping.settle()
                await self._erasure.tend()
            await self._pausing.recover(first=True)
            scheduler = Scheduler(self._ending.failed)
            scheduler.every(self._settings.scan_interval, self.scan)
            scheduler.every(_RECOVER, self._pausing.recover)
            scheduler.every(QUIET, self._settle_endpoints)
            self._upkeep.at_intervals(scheduler)
            scheduler.start()
            driving = asyncio.create_task(self._drive())
            reading = [
                asyncio.create_task(self._observer.run(self._settings.poll_interval, self._remote.shut, self._ending)),
                asyncio.create_task(self._remote.guard()),
                *([asyncio.create_task(self._timekeeping.run())] if self._timekeeping is not None else ()),
            ]
            following = asyncio.create_task(self._follow()) if patient else None
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
                await self._condition.settled()
                await self._upkeep.checkpoint()
                self._log.info("ended")
        if self._ending.failure is not None:
            raise self._ending.failure

    @contextlib.asynccontextmanager
    async def _looking_through(self) -> AsyncIterator[None]:
        """Meanwhile the whole store is looked through; an agent on a damaged one ends."""

        async def look() -> None:
            try:
                await self._store.look_through()
            except AgentError as error:
                self._ending.failed(error)

        self._look_through = asyncio.create_task(look())
        try:
            yield
        finally:
            self._look_through.cancel()
            await asyncio.wait({self._look_through})

    async def _looked(self) -> None:
        await asyncio.wait({self._look_through})

    def _tell_first_store(self) -> None:
        recoveries = self._store.recoveries
        starts = self._store.moving() if recoveries.fresh and recoveries.open() is None else 0
        if starts and not self._store.simulated:
            self._chronicle.first_store(self._settings.state_path.absolute(), starts)

    async def _drive(self) -> None:
        try:
            await self.reconciler.run()
        except AgentError as error:
            self._ending.failed(error)
        except Exception as error:  # a bug of ours; without its loop the agent is none
            self._ending.failed(AgentError(f"The drive loop ended: {type(error).__name__}: {error}.", "report it"))

    async def _drain(self, driving: asyncio.Task[None]) -> None:
        self.reconciler.stop()
        done, _ = await asyncio.wait({driving}, timeout=_DRAIN)
        if not done:
            self._log.warning("some calls were not answered in time; they are resumed at the next start")
            await self.reconciler.drop()
            await driving

    async def _adjust(self) -> None:
        """What changed while no agent ran: what people said, the budget, the images."""
        await self._condition.begin()
        await self._pausing.begin()
        now = self._clock.now()
        await self.reconciler.tell({uid: Reconsidered(at=now) for uid in self._store.patient()})

    def _commanded(self, command: Command) -> None:
        self._chronicle.commanded(command)
        if command.verb == "resume":
            self._remote.believe()
        self._pausing.adjust()
        self.reconciler.wake()

    async def scan(self) -> None:
        """Scan the source; again in a moment while a file is being written."""
        await self._scanning.scan()

    async def _follow(self) -> None:
        with watching(self._settings.specs_dir, self._chronicle.unwatched) as hints:
            await self._scanning.follow(hints)

    def _stepped(self, step: Step) -> None:
        self._chronicle.stepped(step)
        self._outward.wake()

    def _token_answered(self, answer: TokenAnswer) -> None:
        self._endpoints.answered(TOKEN, answer)
        self._remote.token_answered(answer)

    async def _settle_endpoints(self) -> None:
        self._endpoints.settle()

    def _dated(self, date: float | None, seconds: float) -> None:
        if self._timekeeping is not None:
            self._timekeeping.heard(date, seconds)

    def _called(self, operation: Operation, result: str, seconds: float) -> None:
        self._metrics.called(operation, result, seconds)
        self._pulse.called(operation, result, seconds)

    # -- how it is ------------------------------------------------------------------------------------------

    def _standing(self) -> Standing:
        limit = self._settings.max_starts_per_day
        return Standing(
            source=self._settings.source_name,
            policy=self._settings.policy,
            clock=self._clock,
            pulse=self._pulse,
            ready=self._condition.not_ready,
            paused=lambda: self.reconciler.paused,
            budget=lambda: (self._budget.left or 0, limit) if limit else None,
            circuit=self._condition.circuit,
            troubles=self._condition.troubles,
        )
