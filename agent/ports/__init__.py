"""What the loops need of the outside. Each port states its contract; adapters live in store, assure and source."""

from agent.ports.clock import Clock
from agent.ports.effects import Budget, ClaimsEncryption, ClaimsEncryptionError, DocumentTypes, Pictures, UnusableImage
from agent.ports.remote import Gate, Image, Remote, ResultReading
from agent.ports.sink import Delivery, Sink
from agent.ports.store import Command, Receipt, Recoveries, Recovery, Store, WaitingSummary

__all__ = [
    "Budget",
    "ClaimsEncryption",
    "ClaimsEncryptionError",
    "Clock",
    "Command",
    "Delivery",
    "DocumentTypes",
    "Gate",
    "Image",
    "Pictures",
    "Receipt",
    "Recoveries",
    "Recovery",
    "Remote",
    "ResultReading",
    "Sink",
    "Store",
    "UnusableImage",
    "WaitingSummary",
]
