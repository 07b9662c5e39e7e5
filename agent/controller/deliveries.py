"""Deliver observations to records that others may change in the store meanwhile."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping

from agent.core.errors import Moved
from agent.core.observations import Observation

_TRIES = 3  # for each record


async def deliver_again(
    deliver: Callable[[dict[str, Observation]], Awaitable[None]],
    observations: Mapping[str, Observation],
    on_moved: Callable[[str], None],
) -> Collection[str]:
    """Call `deliver` until no record moved. Returns the uids of records that moved at each of three tries.

    `deliver` gets the observations that no record has received, by uid, and removes those that it need not get again.
    `on_moved` gets the uid of each record that moved.
    """
    left, tries = dict(observations), Counter[str]()
    declined: set[str] = set()
    while True:
        try:
            await deliver(left)
        except Moved as moved:
            on_moved(moved.uid)
            tries[moved.uid] += 1
            if tries[moved.uid] < _TRIES:
                continue
            declined.add(moved.uid)
            del left[moved.uid]
            if left:
                continue
        return declined
