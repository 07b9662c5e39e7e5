"""The ports of the agent: its interfaces to the outside. The adapters are in store, assure, source and web."""

from agent.ports.circuit import CircuitState, CircuitTable, SharedCircuit, TimeSpan
from agent.ports.clock import Clock
from agent.ports.commands import Command, CommandStore, Documents, SharedState, SharedStore
from agent.ports.delivery import DeliverEvent, RecordPort
from agent.ports.duties import Duties, MissingImages
from agent.ports.effects import Budget, ClaimsEncryption, ClaimsEncryptionError, DocumentTypes, Pictures, UnusableImage
from agent.ports.key_value import KeyValue, MetaKey
from agent.ports.recoveries import Recoveries, Recovery
from agent.ports.remote import Gate, Image, Remote, ResultReading
from agent.ports.sink import Delivery, Outbox, Sink
from agent.ports.store import (
    AdmissionStore,
    DossierOwners,
    DueRecords,
    IdentityKey,
    Inbox,
    Orphans,
    Receipt,
    Records,
    Starts,
    StoreStatistics,
    WaitingRecords,
    WaitingSummary,
)

__all__ = [
    "AdmissionStore",
    "Budget",
    "CircuitState",
    "CircuitTable",
    "ClaimsEncryption",
    "ClaimsEncryptionError",
    "Clock",
    "Command",
    "CommandStore",
    "DeliverEvent",
    "Delivery",
    "DocumentTypes",
    "Documents",
    "DossierOwners",
    "DueRecords",
    "Duties",
    "Gate",
    "IdentityKey",
    "Image",
    "Inbox",
    "KeyValue",
    "MetaKey",
    "MissingImages",
    "Orphans",
    "Outbox",
    "Pictures",
    "Receipt",
    "RecordPort",
    "Records",
    "Recoveries",
    "Recovery",
    "Remote",
    "ResultReading",
    "SharedCircuit",
    "SharedState",
    "SharedStore",
    "Sink",
    "Starts",
    "StoreStatistics",
    "TimeSpan",
    "UnusableImage",
    "WaitingRecords",
    "WaitingSummary",
]
