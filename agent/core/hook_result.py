"""The result of a hook, by which a git server reports a push. The values are labels of a metric."""

from enum import StrEnum


class HookResult(StrEnum):
    """The results. Only the first makes the agent fetch."""

    ACCEPTED = "accepted"
    FORGED = "forged"  # no signature or token, or a wrong one
    OVERSIZED = "oversized"  # larger than the size limit
    UNREADABLE = "unreadable"  # incomplete
