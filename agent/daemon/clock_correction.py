"""Correct the agent's clock with the `Date` of Assure's answers, and correct wrong times in the store.

While the time is unconfirmed (`agent/platform/clock.py`), the reconciler drives no record, and this loop calls Assure
at growing intervals. A correction has these steps:

1. The open calls end.
2. The clock is set.
3. Every open request receives `ClockCorrected`, which corrects its times.
4. The time is confirmed, and requests continue.

The store remembers an unfinished correction. After a crash, the next start completes it first.
"""

import asyncio

from agent.controller.reconciler import Reconciler
from agent.core.answer import Busy, Unknown
from agent.core.errors import Moved
from agent.core.observations import ClockCorrected
from agent.platform.clock import Anchor, Correction, SystemClock
from agent.platform.log import logger
from agent.platform.metrics import Metrics
from agent.platform.shutdown import Shutdown
from agent.ports import MetaKey, Remote
from agent.store.contract import Store

SKEW = 60.0  # seconds between the host's clock and Assure's that are reported
_FIRST_RETRY = 1.05  # seconds until the second call; each further interval doubles, up to _LONGEST_RETRY
_LONGEST_RETRY = 30.0  # seconds
_TRIES = 20  # calls at the start: answers may contradict each other
_CHECK_SECONDS = 60.0  # seconds between two checks of a confirmed time
_CHUNK = 500  # requests per transaction
_ANCHOR_TOLERANCE = 1.0  # seconds by which a stored anchor may differ before it is written again


class ClockCorrector:
    """`record_date` receives the `Date` of each answer. Corrections require that `run` is running."""

    def __init__(
        self,
        clock: SystemClock,
        store: Store,
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
        self.corrected_seconds = 0.0  # seconds by which the clock was set since the start
        metrics.clock(lambda: self._clock.skew, lambda: self._clock.confirmed)

    async def resume(self) -> None:
        """Hold the clock if an earlier run did not finish a correction."""
        self._clock.held = bool(await self._store.recall(MetaKey.CLOCK_CORRECTION))

    def record_date(self, date: float | None, trip: float) -> None:
        """Record the `Date` of an answer in epoch seconds, or None, and the duration of the call."""
        before = self._clock.confirmed
        self._clock.record_date(date, trip)
        if not (before and self._clock.confirmed):
            self._waiting = True
            self._state_changed.set()
        self._report()

    async def confirm_at_start(self) -> None:
        """Call Assure until the time is confirmed, or Assure does not answer. Runs before any other work."""
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
                hint="the next answer of Assure confirms it; without answers, a steady clock is trusted after a day",
            )
        await self._save_anchor()

    async def run(self) -> None:
        """Confirm and correct the time until cancelled."""
        pause = _FIRST_RETRY
        while True:
            await self._clock.wait(self._state_changed, _CHECK_SECONDS if self._clock.confirmed else pause)
            answered_elsewhere = self._state_changed.is_set()  # an answer to another call: no call is needed
            self._state_changed.clear()
            try:
                answered = await self._run_once(ask=not answered_elsewhere)
                pause = _FIRST_RETRY if answered else min(2 * pause, _LONGEST_RETRY)
            except Exception as error:
                self._shutdown.fail(error)

    async def _run_once(self, ask: bool) -> bool:
        """Run one round. False: Assure was called and did not answer."""
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
        """Send a call that changes nothing; the client records the `Date` of the answer. False: no answer."""
        answer = await self._remote.list_processes(self._clock.now() - 3600.0, (), 0, 1)
        return not isinstance(answer, Busy | Unknown)

    async def _apply_correction(self) -> None:
        """Apply a pending correction, or complete an interrupted one."""
        if not self._clock.pending and not (self._clock.held and self._clock.agreed):
            return
        await self._reconciler.wait_until_idle()
        correction = self._clock.correct() or await self._interrupted_correction()
        self.corrected_seconds += correction.by if self._clock.pending else 0.0
        await self._store.remember(MetaKey.CLOCK_CORRECTION, f"{correction.by!r} {correction.since!r}")
        await self._correct_records(correction)
        await self._store.remember(MetaKey.CLOCK_CORRECTION, "")
        await self._reconciler.clock_corrected()
        self._clock.confirm()
        self._log.error(
            "the clock was wrong and is corrected",
            seconds=round(correction.by, 1),
            hint="the agent corrected its times in open requests; find out what set the host's clock",
        )
        self._reconciler.clock_confirmed()
        await self._save_anchor()

    async def _interrupted_correction(self) -> Correction:
        by, _, since = (await self._store.recall(MetaKey.CLOCK_CORRECTION) or "0 0").partition(" ")
        return Correction(at=self._clock.now(), by=float(by), since=float(since))

    async def _correct_records(self, correction: Correction) -> None:
        observation = ClockCorrected(at=correction.at, by=correction.by, since=correction.since)
        uids = await self._store.open_requests()
        for first in range(0, len(uids), _CHUNK):
            chunk = dict.fromkeys(uids[first : first + _CHUNK], observation)
            if declined := await self._reconciler.deliver(chunk):
                raise Moved(min(declined))  # the store remembers the correction, so it can be completed

    async def _save_anchor(self) -> None:
        """Store the confirmed time for the next start on this boot."""
        anchor = self._clock.anchor() if self._clock.confirmed else None
        known = Anchor.read(await self._store.recall(MetaKey.CLOCK))
        if anchor is None or (
            known and known.boot == anchor.boot and abs(known.offset - anchor.offset) < _ANCHOR_TOLERANCE
        ):
            return
        await self._store.remember(MetaKey.CLOCK, str(anchor))

    def _report(self) -> None:
        """Log when the host's clock becomes wrong, and when it is right again."""
        skew = self._clock.skew
        skewed = skew is not None and abs(skew) > SKEW
        if skew is None or skewed is self._skewed:
            return
        self._skewed = skewed
        if not skewed:
            whose = "clock of the database" if self._clock.database else "host's clock"
            self._log.warning(f"the {whose} agrees with Assure's again")
            return
        if self._clock.database:
            self._log.error(
                "the clocks of the database and of Assure differ",
                seconds=round(skew, 1),  # that of the database is ahead if positive
                hint="set the clock of the server, for example with chrony; the agent uses its time",
            )
            return
        self._log.error(
            "the host's clock is wrong",
            seconds=round(skew, 1),  # ahead of Assure's if positive
            hint="set it, for example with chrony; until then, the agent uses boot time and Assure's `Date`",
        )
