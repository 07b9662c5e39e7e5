"""The reasons why a listener closes a connection before its peer does. The values are labels of a metric."""

from enum import StrEnum


class Dropped(StrEnum):
    """The reason. An idle connection that is closed after an answer is not counted."""

    CROWDED = "crowded"  # the listener was full, and a new connection came
    SLOW_HEAD = "slow-head"  # the head of the request did not arrive in time
    SLOW_BODY = "slow-body"
    SLOW_READER = "slow-reader"  # the peer does not read the answer
    LARGE_HEAD = "large-head"  # too many bytes or headers
    LARGE_BODY = "large-body"
    PIPELINED = "pipelined"  # too many requests before the first answer
    MALFORMED = "malformed"  # not HTTP, TLS for instance
