"""The switches of the simulator. Each choice that the contract leaves open is marked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from agent.sandbox.events.subscription import Subscription
from agent.sandbox.faults.rules import Rule
from agent.sandbox.model import Json

OUTCOMES = ("accepted", "rejected", "inconclusive", "failed")


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentType:
    """One row of GET document-types (contract §5), and the number of its pages (contract §6)."""

    id: int
    country: str
    country_name: str
    type: str
    sub_type: str
    icao: str
    pages: int

    def row(self) -> Json:
        """The row as Assure sends it."""
        return {
            "country": self.country,
            "countryName": self.country_name,
            "type": self.type,
            "id": self.id,
            "name": f"{self.country_name} {self.sub_type}",
            "subType": self.sub_type,
            "icao": self.icao,
        }


_COUNTRIES = (
    ("NLD", "Netherlands"),
    ("NOR", "Norway"),
    ("DEU", "Germany"),
    ("BEL", "Belgium"),
    ("SWE", "Sweden"),
    ("PRT", "Portugal"),
)
# The number of pages is [inferred] from real documents of each kind. So are the values of icao except TD3 (contract
# §5).
_KINDS = (
    ("passport", "Passport", "TD3", 1),
    ("identityCard", "Identity card", "TD1", 2),
    ("driversLicense", "Driving licence", "TD1", 2),
    ("residencePermit", "Residence permit", "TD1", 2),
)
DUTCH_PASSPORT = 137  # the only id whose meaning is documented (contract §5)


def _table() -> tuple[DocumentType, ...]:
    """All countries with all kinds. Every id except 137 is invented. Invented ids begin at 9000."""
    rows: list[DocumentType] = []
    for country, country_name in _COUNTRIES:
        for kind, sub_type, icao, pages in _KINDS:
            known = (country, kind) == ("NLD", "passport")
            rows.append(
                DocumentType(
                    id=DUTCH_PASSPORT if known else 9000 + len(rows),
                    country=country,
                    country_name=country_name,
                    type=kind,
                    sub_type=sub_type,
                    icao=icao,
                    pages=pages,
                )
            )
    return tuple(rows)


DOCUMENTS = _table()


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """The configuration of one simulator. Durations are seconds. `choice` marks points on which the contract is silent
    (§14, §15)."""

    host: str = "127.0.0.1"
    port: int = 0  # 0: the system picks a free port
    client_id: str = "sandbox-client"
    client_secret: str = field(default="sandbox-secret", repr=False)
    token_lifetime: float = 600  # documented default; the contract allows 1 to 3600 (§1)
    seed: int = 0
    faults: tuple[Rule, ...] = ()
    strict: bool = True  # refuse unknown fields with 400. Choice: the real service may ignore them
    persist: Path | None = None

    outcomes: Mapping[str, float] = field(default_factory=lambda: {"accepted": 1.0})  # weights; choice
    verification_delay: tuple[float, float] = (1.0, 3.0)  # choice: shorter than the 20 to 86 s of contract §9
    interactive: bool = False  # true: only a person at the page completes a capture
    capture_delay: float = 2.0  # the time that the simulated end user takes; choice
    capture_process: Literal["at-start", "at-open"] = "at-start"  # when a capture's process appears; choice
    capture_needs_sdk: bool = False  # choice: the schema requires `sdk`, the guide omits it (contract §10)

    events: Subscription | None = None  # the receiver of events; none by default

    documents: tuple[DocumentType, ...] = DOCUMENTS
    dossier_order: Literal["newest-first", "oldest-first"] = "newest-first"  # choice (contract §4)
    read_lag: float = 0.0  # reads and lists hide younger objects; choice
    start_without_images: Literal["refuse", "fail"] = "refuse"  # choice (contract §14.4)
    start_uses_files: bool = True  # a start without images uses the dossier's files; choice, after a legacy page
    repeated_starts: Literal["refuse", "accept"] = "refuse"  # accept: Assure would bill a second start (contract §8)
    late_images_status: Literal[400, 409] = 400  # images after the start; choice (contract §7)
    malformed_auth_status: Literal[400, 401] = 400  # 400 is the vendor's example; a missing one is 401 (contract §2)
    unknown_profile: Literal["default", "refuse"] = "default"  # for an unknown uiProfile; choice (contract §10)
    max_image_bytes: int = 10 * 1024 * 1024  # choice (contract §7)
    oversize_status: Literal[400, 413] = 400  # choice (contract §14.3)

    def __post_init__(self) -> None:
        """Refuse values that can never work."""
        low, high = self.verification_delay
        if not 0 <= low <= high:
            raise ValueError(f"verification_delay is (low, high) with 0 <= low <= high, not {low, high}")
        strange = sorted(set(self.outcomes) - set(OUTCOMES))
        if strange or not any(weight > 0 for weight in self.outcomes.values()):
            raise ValueError(f"outcomes are weights of {', '.join(OUTCOMES)}, one above 0, not {strange}")
