"""The agent put together: store, client, loops and HTTP surface, from the first scan to the last answer."""

import asyncio
import contextlib
import gc
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import TypeVar

from agent import __version__
from agent.account import CIRCUIT, client_config, need_credentials, not_accepted, unreachable
from agent.admission import Admission, Rules
from agent.assure.brakes import Opened
from agent.assure.client import AssureClient
from agent.assure.limits import Limited, Turns
from agent.backups import Backups
from agent.budget import StartBudget
from agent.catalogue import Catalogue
from agent.chronicle import CIRCUIT_HINTS, Chronicle
from agent.clock import SystemClock
from agent.control import Control, hearing, paused, socket_of
from agent.core.answer import Busy, Operation, Refused, Trouble
from agent.core.errors import AgentError
from agent.core.machine import Step
from agent.core.observation import Reconsidered
from agent.erasure import Erasure
from agent.follower import Follower
from agent.interpreter import Interpreter
from agent.log import logger
from agent.metrics import Metrics
from agent.observer import Observer
from agent.orphans import OrphanSweep
from agent.outward import Outward, sink_ids
from agent.pictures import PictureFolder
from agent.ports import Clock
from agent.pulse import Pulse
from agent.reconciler import Reconciler
from agent.regain import Regain
from agent.scheduler import Scheduler
from agent.settings import Settings
from agent.source.folder import Folder
from agent.source.history import Checkout
from agent.source.watch import Hint, watching
from agent.store.reading import Reading
from agent.store.sqlite import SqliteStore
from agent.surface.standing import Standing

T = TypeVar("T")

_DRAIN = 10.0  # seconds that answers may take once we are told to end
_SWEEP = 60.0  # seconds between two looks for orphans, and for what may not be kept any longer
_RECOVER = 5.0  # seconds between two looks for what a recovering store may have missed
_TIDY = 60.0  # seconds until what was erased has left the files as well
_CHECKPOINT = 300.0  # seconds between two checkpoints of the journal
_SETTLE = 0.3  # seconds until a folder that changes is looked at again
_PATIENCE = 5  # attempts to reach Assure before `run --once` gives up, and to have its lists before anything is begun


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How `run --once` ended."""

    refused: int
    withdrawals: int  # that wait for a person's approval
    still_moving: bool


class Agent:
    """One agent on one store. Made by `opened`, which also closes it."""

    def __init__(
        self, settings: Settings, store: SqliteStore, metrics: Metrics, clock: Clock, seen: Callable[[Step], None]
    ) -> None:
        self._settings = settings
        self._store = store
        self._metrics = metrics
        self._clock = clock
        self._log = logger()
        self._chronicle = Chronicle(metrics, seen)
        self._stopping = asyncio.Event()
        self._failure: AgentError | None = None
        self.events_url: str | None = None  # where Assure Events are received, while it runs
        self._pulse = Pulse(clock)
        chance = random.random  # pace, not secrecy
        self._turns = Turns(settings.rate_limit, clock)
        self._client = AssureClient(client_config(settings), clock, self._called, turn=self._turns.next)
        rules = Rules.of(settings, store.keys.agent_id())
        self._remote = Limited(self._client, self._turns, clock, chance, rules.ours, self._circuit)
        self._notes: set[asyncio.Task[None]] = set()
        self._catalogue = Catalogue(self._remote, store, clock)
        pictures = PictureFolder(settings.images_dir, settings.max_image_bytes)
        self._budget = StartBudget(settings.max_starts_per_day, store, clock)
        metrics.brake(lambda: self._budget.left)
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
        folder = Folder(settings.specs_dir)
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
        self._orphans = OrphanSweep(store, self._remote, clock)
        sole = not settings.agent_id
        self._regain = Regain(store, store.recoveries, self._remote, self.reconciler, clock, rules.agent_id, sole)
        self._backups = Backups(
            store,
            clock,
            settings.state_path,
            settings.backup_dir,
            settings.backup_interval,
            settings.backup_keep,
        )
        images = (settings.images_dir, settings.max_image_bytes)
        self._erasure = Erasure(store, self.reconciler, images, self._admission.undisturbed, clock)
        self._observer = Observer(store, self._remote, self.reconciler, clock)
        source, keys = settings.source_name, store.keys
        self._control = Control(
            store,
            lambda name: keys.uid(source, name),
            self.reconciler.tell,
            self._admission.document,
            clock,
            self._commanded,
        )
        self._outward = Outward(settings, store, metrics, self._standing(), self.reconciler.tell, chance, self._failed)

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

        The store is bound to `account`, by default the client id and the base URL.
        """
        need_credentials(settings)
        system = SystemClock()
        clock = clock or system
        metrics = Metrics(clock)
        account = account or f"{settings.client_id} at {settings.base_url}"
        claims_key = settings.claims_key.get_secret_value()
        store = SqliteStore(settings.state_path, account, metrics.committed, rebind, sink_ids(settings), claims_key)
        try:
            if not system.resume(store.last_event_at()):
                logger().warning("the clock is days behind the store", hint="set it, for instance with chrony")
            metrics.watch(lambda: Reading(settings.state_path))
            agent = cls(settings, store, metrics, clock, seen)
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
            await self._stopping.wait()

    async def run_once(self, patience: float, listening: Callable[[str], None] = lambda url: None) -> Finished:
        """Run until everything is settled as far as it can be, or `patience` seconds have passed, or `stop`."""
        end = self._clock.now() + patience
        async with self._at_work(listening, patient=False):
            await self._scan_until_settled()
            while not self._stopping.is_set() and self._clock.now() < end:
                if self.reconciler.idle and not self._store.unsettled(self.reconciler.paused):
                    break
                await self._clock.wait(self._stopping, 0.1)
            else:
                return self._finished(still_moving=self._store.unsettled())
            await self._orphans.sweep(at_once=True)
            await self._erasure.tend()
            gated = self.reconciler.recovering and self.reconciler.paused
        return self._finished(still_moving=gated and self._store.unsettled())

    def stop(self) -> None:
        """Ask for nothing new, save what is answered, and end."""
        self._stopping.set()

    def _finished(self, still_moving: bool) -> Finished:
        last = self._chronicle.last
        refused = {(fault.file, fault.name or fault.line) for fault in last.refusals} if last else set()
        waiting = last.waiting if last else 0
        return Finished(refused=len(refused), withdrawals=waiting, still_moving=still_moving)

    @contextlib.asynccontextmanager
    async def _at_work(self, listening: Callable[[str], None], patient: bool) -> AsyncIterator[None]:
        """Everything runs inside of this; on leaving, what is under way is answered and saved, in bounded time."""
        control = hearing(self._control, socket_of(self._settings.state_path))
        async with self._outward.at_work() as (url, self.events_url), control:
            listening(url)
            self._log.info("started", version=__version__, address=url, events=self.events_url)
            await self._adjust()
            await self._erasure.tend()
            await self.scan()
            gc.freeze()  # what a large folder holds lives as long as we do: no collection has to walk through it
            await self._reach(patient)
            await self._recover(_PATIENCE)
            scheduler = Scheduler(self._failed)
            scheduler.every(self._settings.scan_interval, self.scan)
            scheduler.every(_SWEEP, self._sweep)
            scheduler.every(_RECOVER, self._recover)
            scheduler.every(_SWEEP, self._back_up)
            scheduler.every(_TIDY, self._tidy)
            scheduler.every(_SWEEP, self._erasure.tend)
            scheduler.every(_CHECKPOINT, self._checkpoint)
            scheduler.start()
            driving = asyncio.create_task(self._drive())
            observing = asyncio.create_task(self._observe())
            guarding = asyncio.create_task(self._remote.guard())
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
                for reading in (observing, guarding):  # they only read
                    reading.cancel()
                await asyncio.gather(observing, guarding, *self._notes, return_exceptions=True)
                await self._checkpoint()
                self._log.info("ended")
        if self._failure is not None:
            raise self._failure

    async def _drive(self) -> None:
        try:
            await self.reconciler.run()
        except AgentError as error:
            self._failed(error)
        except Exception as error:  # a bug of ours; without its loop the agent is none
            self._failed(AgentError(f"The drive loop ended: {type(error).__name__}: {error}.", "report it"))

    async def _drain(self, driving: asyncio.Task[None]) -> None:
        self.reconciler.stop()
        done, _ = await asyncio.wait({driving}, timeout=_DRAIN)
        if not done:
            self._log.warning("some calls were not answered in time; they are resumed at the next start")
            await self.reconciler.drop()
            await driving

    async def _adjust(self) -> None:
        """What changed while no agent ran: what people said, the budget, the images. No circuit is open any more."""
        if self._store.recall(CIRCUIT):
            await self._store.remember(CIRCUIT, "")
        self._gate()
        now = self._clock.now()
        recovery = self._store.recoveries.open()
        if recovery is not None and recovery.why == "restored" and recovery.looked_at is None:
            await self._store.restored(now)  # a person wanted it; a copy that came otherwise is a break for auditors
        await self.reconciler.tell({uid: Reconsidered(at=now) for uid in self._store.patient()})

    def _commanded(self, verb: str) -> None:
        if verb == "resume":
            self._remote.believe()
        self._gate()
        self.reconciler.wake()

    def _gate(self) -> None:
        """Nothing is begun while a person paused the agent, or the store is a copy that may be behind."""
        recovery = self._store.recoveries.open()
        self.reconciler.recovering = recovery is not None
        self.reconciler.paused = paused(self._store) or (recovery is not None and recovery.gated)

    async def _recover(self, tries: int = 1) -> None:
        """Once at the start, and then whenever something waits to be looked for; a no-op while all is as usual."""
        if not self.reconciler.recovering:
            if not await self._behind(tries):
                return
            self._gate()
        regained = await self._unless_stopping(self._regain.look())
        if regained is None:
            return
        self._chronicle.regained(regained)
        if regained.closed:
            self._gate()

    async def _behind(self, tries: int) -> bool:
        """Does Assure show that the store is behind? An Assure that gives no lists is waited for, and not for ever."""
        for failures in range(tries):
            behind = await self._unless_stopping(self._regain.behind())
            if behind is not None or self._stopping.is_set():
                return bool(behind)
            await self._clock.wait(self._stopping, 2.0**failures if failures + 1 < tries else 0.0)
        return False

    async def _observe(self) -> None:
        while not self._stopping.is_set():
            await self._clock.wait(self._stopping, max(1.0, self._settings.poll_interval))
            if self._stopping.is_set():
                return
            if self._remote.shut(self._clock.now()):
                continue
            try:
                await self._observer.observe()
            except Exception as error:
                self._failed(error)

    # -- what runs at intervals -----------------------------------------------------------------------------

    async def scan(self) -> None:
        """Scan the source; again in a moment while a file is being written."""
        synced = await self._admission.scan()
        while synced.unsettled and not self._stopping.is_set():
            await self._clock.wait(self._stopping, _SETTLE)
            synced = await self._admission.scan()

    async def _follow(self) -> None:
        """Admit what the watch points at; the scan at intervals remains the truth."""
        with watching(self._settings.specs_dir, self._chronicle.unwatched) as hints:
            await Follower(self._look, self._scan_for_hint, self._failed).run(hints)

    async def _look(self, files: frozenset[str]) -> Hint:
        looked = await self._admission.look(files)
        return Hint(looked.unsettled, everything=looked.open)

    async def _scan_for_hint(self) -> Hint:
        return Hint(everything=(await self._admission.scan(hinted=True)).unsettled)

    async def _scan_until_settled(self) -> None:
        """For `run --once`: what was absent is looked for a second time now, not at the next interval."""
        synced = await self._admission.scan()
        while (synced.unsettled or synced.absent) and not self._stopping.is_set():
            await self._clock.wait(self._stopping, _SETTLE)
            synced = await self._admission.scan()

    async def _sweep(self) -> None:
        if not self._remote.shut(self._clock.now()) and (deleted := await self._orphans.sweep()):
            self._log.warning("deleted orphaned dossiers", count=deleted)

    async def _back_up(self) -> None:
        await self._backups.make()

    async def _tidy(self) -> None:
        try:
            await self._store.tidy()
        except AgentError as error:  # a disk that is full, say: the next time will do
            self._log.warning("what was erased may still be in the state file", error=str(error), hint=error.hint)

    async def _checkpoint(self) -> None:
        """Without one the work goes on: dossiers have to be deleted, whatever became of a file for auditors."""
        try:
            self._chronicle.checkpointed(await self._store.checkpoint(self._clock.now()))
        except (AgentError, OSError) as error:
            self._chronicle.unwritten(error)

    async def _unless_stopping(self, call: Coroutine[None, None, T]) -> T | None:
        """What the call comes to, or None when we are told to end before."""
        tasks = asyncio.create_task(call), asyncio.create_task(self._stopping.wait())
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return tasks[0].result() if not tasks[0].cancelled() else None

    async def _reach(self, patient: bool) -> None:
        """Is Assure there, and does it know us? A wrong client ends the agent; silence only when we are not patient."""
        for failures in range(_PATIENCE):
            answer = await self._unless_stopping(self._client.authenticate())
            if self._stopping.is_set():
                return
            if isinstance(answer, Refused):
                raise not_accepted()
            if answer is None:
                return
            if not isinstance(answer, Busy) or answer.evidence.trouble is not Trouble.CONNECT:
                return  # something answers: the loops are patient
            await self._clock.wait(self._stopping, 0.2 * 2**failures)
        silence = unreachable(self._settings, "the requests are kept and nothing is lost")
        if not patient:
            raise silence
        self._log.error("unreachable", error=str(silence), hint=silence.hint)

    def _stepped(self, step: Step) -> None:
        self._chronicle.stepped(step)
        self._outward.wake()

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
            ready=self._not_ready,
            paused=lambda: self.reconciler.paused,
            budget=lambda: (self._budget.left or 0, limit) if limit else None,
            circuit=self._circuit_says,
        )

    def _circuit_says(self) -> str | None:
        opened = self._remote.opened
        return None if opened is None else f"{opened.cause}; {CIRCUIT_HINTS[opened.cause]}"

    def _not_ready(self) -> str | None:
        if self._failure is not None:
            return "failed"
        last = self._chronicle.last
        if last is None or last.error is not None:
            return "the source was not read"
        return None if not self._stopping.is_set() else "ending"

    def _circuit(self, opened: Opened | None) -> None:
        """The circuit opened, or closed: said in the log and the metrics, and noted for `doctor`."""
        self._chronicle.circuit(opened)
        note = asyncio.create_task(self._note_circuit("" if opened is None else opened.cause.value))
        self._notes.add(note)
        note.add_done_callback(self._notes.discard)

    async def _note_circuit(self, text: str) -> None:
        try:
            await self._store.remember(CIRCUIT, text)
        except AgentError as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self._log.error("failed", error=f"{type(error).__name__}: {error}")
        if isinstance(error, AgentError):
            self._failure = error
            self.stop()
