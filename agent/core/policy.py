"""The numbers that the state machine decides by. All times are in seconds."""

from dataclasses import dataclass
from typing import Final

CLOCK_MARGIN: Final = 600.0  # seconds: the largest difference between the clocks of this machine and Assure
RESCAN_PAUSE: Final = 0.3  # seconds between the two scans by which `run --once` confirms that a file is gone


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Intervals and limits. Settings set the first three and the modes; the rest are constants of the agent."""

    poll_interval: float = 5.0  # between two polls
    request_timeout: float = 30.0  # from the last byte sent to the answer
    hold_ttl: float = 7 * 86400.0  # how long a held request may keep its dossier
    budgeted: bool = False  # MAX_STARTS_PER_DAY is set: a start is reserved before the dossier is created
    paused: bool = False  # the operator paused the agent: nothing new is created or started
    discard_images: bool = False  # IMAGES_AFTER_UPLOAD=delete
    creates_blocked: bool = False  # the create barrier is active: an unanswered create comes first
    clock_unconfirmed: bool = False  # the clock is not confirmed: no deadline decides
    recovering: bool = False  # recovery is in progress: the past of newly admitted requests is unknown
    poll_fallback: float = 900.0  # between two polls of one request by itself; the bulk list finds results earlier
    max_start_interval: float = (
        900.0  # the longest time between two starts of one process, after many that did not happen
    )
    start_repeats: int = 3  # repeats of one start that come at the shortest distance
    min_read_interval: float = 1.0  # the shortest time between two reads of one process
    list_lag: float = 5.0  # how long a list may lag behind a create
    late_effect_grace: float = 15.0  # how long a create without an answer may still act, at least
    missing_confirmations: int = 3  # 404 in a row before a target counts as missing ...
    missing_grace: float = 30.0  # ... and the time from the first to the last of them
    unexpected_answers: int = 3  # repeats after an unexpected answer before the request is held
    image_recheck_interval: float = 10.0  # between two checks of images that do not match
    late_read_window: float = 3600.0  # after the deadline, until it decides without a result from Assure ...
    late_read_limit: int = 30  # ... and the reads in a row without one: an open circuit breaker prevents reads
    started_at: float = 0.0  # when the agent started; see `grace_start`
    backoff_base: float = 0.5
    slow_backoff_failures: int = 5  # failures in a row until which waits grow by half; afterwards they double
    backoff_cap: float = 60.0

    def grace_start(self, at: float) -> float:
        """The start of a delay that must have passed since `at`, as real time.

        A delay does not count time before the start of the agent, because the clock may have been set between two runs.
        """
        return max(at, self.started_at)

    @property
    def settle_time(self) -> float:
        """Seconds after a call until it acted or never will, and until reads show it.

        A call may act until its timeout, then reads may lag. The sum is doubled: after the operator sets the clock
        forward, the agent's clock runs at double speed until it catches up.
        """
        return 2 * (self.request_timeout + self.list_lag)

    @property
    def absence_grace(self) -> float:
        """Seconds from an unknown create until a complete list without its dossier proves absence."""
        return max(self.late_effect_grace, self.settle_time)
