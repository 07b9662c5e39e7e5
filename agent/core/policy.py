"""The numbers the machine decides by. They come in as a value; seconds throughout."""

from dataclasses import dataclass
from typing import Final

CLOCK_MARGIN: Final = 600.0  # seconds by which the clocks of this machine and of Assure may differ
RESCAN_PAUSE: Final = 0.3  # seconds between the two scans of `run --once` that prove an absence


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Pace and patience. Settings fill the first three; the rest are ours."""

    poll_interval: float = 5.0  # between two looks at what waits
    request_timeout: float = 30.0  # from the last byte sent to the answer
    hold_ttl: float = 7 * 86400.0  # how long a hold may keep a dossier alive
    budgeted: bool = False  # MAX_STARTS_PER_DAY is set: a start is reserved before a dossier is created
    paused: bool = False  # a person paused the agent: nothing new is created or started
    discard_images: bool = False  # IMAGES_AFTER_UPLOAD=delete
    creates_blocked: bool = False  # an unknown create of a dossier is looked for first: no dossier is created meanwhile
    clock_unconfirmed: bool = False  # the time is not confirmed: no deadline is decided by it
    recovering: bool = False  # the store is not what it was: nobody knows the past of what is admitted now
    poll_fallback: float = 900.0  # a waiting request is looked at by itself this often; the bulk list finds it earlier
    max_start_interval: float = 900.0  # between two starts of one process at most, however often none of them happened
    start_repeats: int = 3  # repeats of one process that come at the shortest distance
    min_read_interval: float = 1.0  # never read one process more often than this
    list_lag: float = 5.0  # how long a list may lag behind a create
    late_effect_grace: float = 15.0  # how long after an unknown create a list proves nothing, at least: it may act late
    missing_confirmations: int = 3  # 404 in a row before something is gone ...
    missing_grace: float = 30.0  # ... and the time from the first to the last of them
    unexpected_answers: int = 3  # times an unexpected answer is asked again before it is held
    image_recheck_interval: float = 10.0  # between two looks at images that are not what was admitted
    late_read_window: float = (
        3600.0  # how long after the deadline looks may tell nothing before it decides without one ...
    )
    late_read_limit: int = 30  # ... and how many of them in a row: while the circuit is open, no read is made
    started_at: float = 0.0  # when this life of the agent began; see `since`
    backoff_base: float = 0.5
    slow_backoff_failures: int = (
        5  # failures in a row that noise explains: until then waits grow by half, afterwards they double
    )
    backoff_cap: float = 60.0

    def grace_start(self, at: float) -> float:
        """From when a grace is counted that has to have passed indeed.

        Between two lives the clock may have been set: what the last one measured says nothing of the time that passed.
        """
        return max(at, self.started_at)

    @property
    def settle_time(self) -> float:
        """From a call on, how long until it has acted, or never will, and until reads show what it did.

        It may act until its own timeout; then reads may lag. Twice that, because after the machine's clock was set
        forward ours goes at twice the speed until it has caught up.
        """
        return 2 * (self.request_timeout + self.list_lag)

    @property
    def absence_grace(self) -> float:
        """From when a create became unknown until a list without it proves that it never happened."""
        return max(self.late_effect_grace, self.settle_time)
