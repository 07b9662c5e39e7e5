"""The division of work among the replicas on one store: what one of them does at a time."""

from typing import Protocol

TURN_OF_SOURCE = "source/{}"  # the name of the source
TURN_OF_SINK = "deliver/{}"  # the id of the sink


class Duties(Protocol):
    """The work that one replica does at a time. No replica is the leader: each asks the store. Raises Fenced."""

    async def take_duty(self, name: str, every: float) -> bool:
        """Take periodic work. False: another replica that lives took it in this interval of `every` seconds.

        The replica that took it last may take it again: its own timer decides when. The times are of the server. If
        that replica ends before the work is done, another one takes it at the next tick of its timer.
        """

    async def hold_turn(self, name: str) -> bool:
        """Take or keep a turn. True: no other replica has it before this one calls `release_turn`, or its life ends.

        No write of this replica succeeds after its life. So what it writes under a turn needs no other check.
        """

    async def release_turn(self, name: str) -> None:
        """Give a turn back, so that another replica may take it."""


class MissingImages(Protocol):
    """The requests whose image files a replica did not find. Another replica may have them."""

    async def images_missing(self, uid: str, now: float) -> bool:
        """Note that this replica does not find an image of this request. True: the file is missing for all replicas.

        `now` is in seconds since the epoch.
        Replicas must search three times in a minute or more. If several replicas live, two of them must search.
        """

    async def images_found(self, uid: str) -> None:
        """Forget that images of this request were not found."""
