"""The key/value table: small facts about the store and its account."""

from enum import StrEnum
from typing import Protocol


class MetaKey(StrEnum):
    """The keys of the table `meta`. Binding the store to another account deletes those with the prefix REMEMBERED."""

    ACCOUNT = "account"  # the Assure account of the store
    IDENTITY = "identity"  # the identity of the store, which the high-water mark repeats
    IDENTITIES = "identities"  # of a database: its identities before each recovery
    KEY = "key"  # the fingerprint of the key file
    COMMANDS = "commands"  # the number of the last command, and its seal
    CHECKPOINT = "checkpoint"  # the number and the hash of the last checkpoint
    ABANDONED_CHECKPOINT = "given-up"  # the number of the last checkpoint when a recovery began
    BACKUP_AT = "backup/at"  # in a backup only: the time of the backup
    BACKUP_KEY = "backup/key"  # in a backup only: the key itself
    COPY_OF = "copy/of"  # in an unfinished copy only: the store that it copies
    MOVED_TO = "moved/to"  # in a copied store only: the store that took its place

    APPROVED = "remembered/approved"  # time: the operator approved the waiting withdrawals
    WITHDRAWALS_WAIT = "remembered/withdrawals-wait-since"  # time: withdrawals wait for an approval
    REVISION_APPROVED = "remembered/revision-approved"  # the refused revision of the source that the operator approved
    PAUSED = "remembered/paused"  # time: the operator paused the agent
    BACKED_UP = "remembered/backed-up"  # time: the last backup
    TRUSTED_ROOT = "remembered/trusted-root"  # the source folder that had every request
    CLOCK = "remembered/clock"  # the anchor of the confirmed time
    CLOCK_CORRECTION = "remembered/clock-correction"  # a correction in progress, or empty
    CIRCUIT = "remembered/circuit"  # the cause of the open circuit breaker, or empty
    ENDPOINTS = "remembered/endpoints"  # the troubles of the endpoints, as JSON
    DOCUMENT_TYPES = "remembered/document-types"  # the last list of document types, as JSON


REMEMBERED = "remembered/"


class KeyValue(Protocol):
    """Facts about the account. A coroutine returns when the value is durable."""

    async def recall(self, key: MetaKey) -> str | None:
        """The text of this key."""

    async def recall_time(self, key: MetaKey) -> float | None:
        """The time of this key, in seconds since the epoch."""

    async def remember(self, key: MetaKey, value: str | float | None) -> None:
        """Keep a text or a time. None removes it."""
