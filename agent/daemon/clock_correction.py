"""Keeps the agent's clock right: answers of Assure are its witness, and times that were wrong are mended in the store.

While the time is unconfirmed (`agent/platform/clock.py`) no record is driven. Then Assure is asked, at growing
intervals: each answer has a `Date`. A correction is made in this order: calls under way end; the clock is set; every
open request gets `ClockCorrected`, which corrects its times; the time is confirmed, and requests go on. The store
remembers that a correction is being made: one that a crash cut off is completed at the next start, before anything
else.
"""

import asyncio

from agent.controller.reconciler import Reconciler
from agent.core.answer import Busy, Unknown
from agent.core.observations import ClockCorrected
from agent.platform.clock import Anchor, Correction, SystemClock
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.platform.shutdown import Shutdown
from agent.ports import MetaKey, Remote
from agent.store.sqlite import SqliteStore

SKEW = 60.0  # seconds: a host's clock that is further from Assure's is reported
_FIRST_RETRY = 1.05  # seconds until Assure is asked again, at first; then after twice the time, up to _SELDOM
_LONGEST_RETRY = 30.0
_TRIES = 20  # to settle the time before anything begins: answers may contradict each other
_CHECK_SECONDS = 60.0  # seconds between two checks of a confirmed time
_CHUNK = 500  # requests per transaction
_ANCHOR_TOLERANCE = 1.0  # seconds that a stored time may be off before it is written again


class ClockCorrector:
    """`record_date` is told of each answer's `Date`. `run` has to run, or a correction is never made."""

    def __init__(
        self,
        clock: SystemClock,
        store: SqliteStore,
        remote: Remote,
        reconciler: Reconciler,
        metrics: Metrics,
        shutdown: Shutdown,
    ) -> None:
        self._clock = clock
        self._store = store
        self._remote = remote
        self._reconciler = reconciler
        self._shutdown = shutdown
        self._log = logger()
        self._state_changed = asyncio.Event()
        self._skewed = False
        self._waiting = True  # requests wait for the time to be confirmed
        clock.held = bool(store.recall(MetaKey.CLOCK_CORRECTION))
        self.corrected_seconds = 0.0  # seconds by which the clock was set since the start
        metrics.clock(lambda: self._clock.skew, lambda: self._clock.confirmed)

    def record_date(self, date: float | None, trip: float) -> None:
        """Assure answered: its `Date` in epoch seconds, None without one, and how long the call took."""
        before = self._clock.confirmed
        self._clock.record_date(date, trip)
        if not (before and self._clock.confirmed):
            self._waiting = True
            self._state_changed.set()
        self._report()

    async def confirm_at_start(self) -> None:
        """Before anything begins: ask until the time is confirmed, or Assure does not answer."""
        for _ in range(_TRIES):
            if self._shutdown.requested.is_set():
                break
            await self._apply_correction()
            if self._clock.confirmed:
                break
            await self._clock.wait(self._shutdown.requested, _FIRST_RETRY)
            if await self._shutdown.run_until_requested(self._request_date()) is not True:
                break
        if not self._clock.confirmed and not self._shutdown.requested.is_set():
            self._log.warning(
                "the time is not confirmed: requests wait",
                hint="Assure confirms it once it answers; a steady clock is believed after a day without it",
            )
        await self._save_anchor()

    async def run(self) -> None:
        """Until cancelled: confirm what is unconfirmed, and correct what is wrong."""
        pause = _FIRST_RETRY
        while True:
            await self._clock.wait(self._state_changed, _CHECK_SECONDS if self._clock.confirmed else pause)
            answered_elsewhere = self._state_changed.is_set()  # by an answer to somebody else: we need not ask
            self._state_changed.clear()
            try:
                answered = await self._run_once(ask=not answered_elsewhere)
                pause = _FIRST_RETRY if answered else min(2 * pause, _LONGEST_RETRY)
            except Exception as error:
                self._shutdown.fail(error)

    async def _run_once(self, ask: bool) -> bool:
        """Once. False: Assure was asked and did not answer."""
        self._report()
        self._clock.trust_steady_clock()
        await self._apply_correction()
        answered = True
        if ask and not self._clock.confirmed:
            answered = await self._request_date()
            self._state_changed.clear()
            await self._apply_correction()
        if self._clock.confirmed:
            if self._waiting:
                self._waiting = False
                self._reconciler.clock_confirmed()
            await self._save_anchor()
        else:
            self._waiting = True
        return answered

    async def _request_date(self) -> bool:
        """Ask for anything that touches nothing: the `Date` of the answer is heard on its way. False: no answer."""
        answer = await self._remote.list_processes(self._clock.now() - 3600.0, (), 0, 1)
        return not isinstance(answer, Busy | Unknown)

    async def _apply_correction(self) -> None:
        """Make the correction that is pending, if one is; or complete one that was cut off."""
        if not self._clock.pending and not (self._clock.held and self._clock.agreed):
            return
        await self._reconciler.wait_until_idle()
        correction = self._clock.correct() or self._interrupted_correction()
        self.corrected_seconds += correction.by if self._clock.pending else 0.0
        await self._store.remember(MetaKey.CLOCK_CORRECTION, f"{correction.by!r} {correction.since!r}")
        await self._correct_records(correction)
        await self._store.remember(MetaKey.CLOCK_CORRECTION, "")
        self._reconciler.clock_corrected()
        self._clock.confirm()
        self._log.error(
            "the clock was wrong and is corrected",
            seconds=round(correction.by, 1),
            hint="times that this agent wrote since are mended in open requests; see what set the host's clock",
        )
        self._reconciler.clock_confirmed()
        await self._save_anchor()

    def _interrupted_correction(self) -> Correction:
        by, _, since = (self._store.recall(MetaKey.CLOCK_CORRECTION) or "0 0").partition(" ")
        return Correction(at=self._clock.now(), by=float(by), since=float(since))

    async def _correct_records(self, correction: Correction) -> None:
        observation = ClockCorrected(at=correction.at, by=correction.by, since=correction.since)
        uids = self._store.open_requests()
        for first in range(0, len(uids), _CHUNK):
            await self._reconciler.deliver(dict.fromkeys(uids[first : first + _CHUNK], observation))

    async def _save_anchor(self) -> None:
        """Remember a confirmed time for the next start on this boot."""
        anchor = self._clock.anchor() if self._clock.confirmed else None
        known = Anchor.read(self._store.recall(MetaKey.CLOCK))
        if anchor is None or (
            known and known.boot == anchor.boot and abs(known.offset - anchor.offset) < _ANCHOR_TOLERANCE
        ):
            return
        await self._store.remember(MetaKey.CLOCK, str(anchor))

    def _report(self) -> None:
        """Log when the host's clock goes wrong, and when it is right again."""
        skew = self._clock.skew
        skewed = skew is not None and abs(skew) > SKEW
        if skew is None or skewed is self._skewed:
            return
        self._skewed = skewed
        if not skewed:
            self._log.warning("the host's clock agrees with Assure's again")
            return
        self._log.error(
            "the host's clock is wrong",
            seconds=round(skew, 1),  # ahead of Assure's; negative: behind
            hint="set it, for instance with chrony; the agent goes by boot time and by Assure's `Date` meanwhile",
        )
