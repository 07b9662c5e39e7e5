"""Small builders: a request that goes its road, step by step, and a store in a folder of its own."""

from pathlib import Path
from typing import Any

from agent.core.answer import Evidence
from agent.core.assure_types import (
    CaptureOptions,
    Depiction,
    DossierReading,
    ListedProcess,
    ProcessReading,
    ProcessType,
    Status,
)
from agent.core.effect import EffectKind, ImageRef
from agent.core.machine import admit, step
from agent.core.observations import (
    CaptureStarted,
    DossierCreated,
    DossierDeleted,
    DossierRead,
    ImagesUploaded,
    ImagesVerified,
    Observation,
    ProcessCreated,
    ProcessRead,
    TargetMissing,
    TimerFired,
    VerificationStarted,
)
from agent.core.policy import Policy
from agent.core.record import Desired, Phase, Record
from agent.core.step import Step
from agent.store.connection import Connection, sqlite3
from agent.store.sqlite import SqliteStore

NOW = 1_800_000_000.0
POLICY = Policy()
ACCOUNT = "https://api.example client-1"
LINK = "https://capture.example/flow/a-very-secret-link"
FRONT = ImageRef(depiction=Depiction.FRONT, path="somebody/front.jpg", sha256="f" * 64)
OPTIONS = CaptureOptions(process_type=ProcessType.DOCUMENT, redirect_url="https://shop.example/verified")


def opened(folder: Path, **options: Any) -> SqliteStore:
    """The store in this folder."""
    return SqliteStore(folder / "agent.db", ACCOUNT, **options)


def raw(folder: Path) -> Connection:
    """A connection past all our care, for tampering and for looking."""
    return sqlite3.connect(folder / "agent.db", isolation_level=None)


def rows(folder: Path, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """What a query says."""
    connection = raw(folder)
    try:
        return list(connection.execute(sql, values))
    finally:
        connection.close()


def changed(folder: Path, *statements: str) -> None:
    """Tamper: the triggers are dropped first."""
    connection = raw(folder)
    for name in ("events_are_never_changed", "events_are_never_deleted"):
        connection.execute(f"DROP TRIGGER IF EXISTS {name}")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def upload(**fields: Any) -> Desired:
    """A document with one image."""
    given = {"digest": "d1", "essence": "e1", "process_type": ProcessType.DOCUMENT, "document_id": 137}
    return Desired(**{**given, "images": (FRONT,), **fields})


def capture(**fields: Any) -> Desired:
    """A document with a capture flow."""
    return Desired(
        **{"digest": "d1", "essence": "e1", "process_type": ProcessType.DOCUMENT, "capture": OPTIONS, **fields}
    )


class Life:
    """One request; `steps` are all that happened to it, in order, as they are to be committed."""

    def __init__(self, uid: str = "u1", desired: Desired | None = None, at: float = NOW, **fields: Any) -> None:
        self.at = at
        given = {"uid": uid, "name": f"name-{uid}", "source": "default", "agent": "a1", "desired": desired or upload()}
        self.steps: list[Step] = [admit(Record(**{**given, **fields}), at, POLICY)]

    @property
    def record(self) -> Record:
        return self.steps[-1].record

    def sees(self, observation: type[Observation], **fields: Any) -> Step:
        """Fold an observation, a second later."""
        self.at += 1
        taken = step(self.record, observation(at=self.at, **fields), POLICY)
        if taken.changed:
            self.steps.append(taken)
        return taken

    def until(self, phase: Phase) -> "Life":
        """Go the happy road until this phase."""
        while self.record.phase is not phase:
            self.goes_on()
        return self

    def goes_on(self) -> None:
        """The next thing that happens when all goes well."""
        record = self.record
        self.at = max(self.at, record.due_at or 0.0)
        if record.intent is not None:
            observation, fields = self._answers()[record.intent.kind]
            self.sees(observation, **fields)
        elif record.phase is Phase.DOSSIER and record.desired.images and not record.verified:
            self.sees(ImagesVerified)
        elif record.phase is Phase.VERIFICATION:
            self.reads(Status.PENDING)
        elif record.phase is Phase.RESULT:
            self._has_a_result()
        elif record.phase is Phase.DELETION and record.deleted:
            self.sees(TargetMissing, kind=EffectKind.READ_DOSSIER)
        else:
            self.sees(TimerFired)

    def _answers(self) -> dict[EffectKind, tuple[type[Observation], dict[str, Any]]]:
        uid = self.record.uid
        process = {"process_id": f"P-{uid}", "status": Status.PENDING, "document_pages": 1}
        started = {"status": Status.PROCESSING, "evidence": Evidence(status=200, trace_id="t1")}
        return {
            EffectKind.CREATE_DOSSIER: (DossierCreated, {"dossier_id": f"D-{uid}"}),
            EffectKind.CREATE_PROCESS: (ProcessCreated, process),
            EffectKind.START_CAPTURE: (CaptureStarted, {"link": LINK}),
            EffectKind.UPLOAD_IMAGES: (ImagesUploaded, {}),
            EffectKind.START_VERIFICATION: (VerificationStarted, started),
            EffectKind.DELETE_DOSSIER: (DossierDeleted, {}),
        }

    def reads(self, status: Status) -> Step:
        """GET process said so."""
        reading = ProcessReading(process_id=self.record.process_id or "", status=status)
        return self.sees(ProcessRead, reading=reading)

    def _has_a_result(self) -> None:
        if self.record.process_id is not None:
            self.reads(Status.ACCEPTED)
            return
        one = ListedProcess(process_id="P7", provider="p", process_type="document", status=Status.ACCEPTED)
        reading = DossierReading(dossier_id=self.record.dossier_id or "", reference=None, processes=(one,))
        self.sees(DossierRead, reading=reading)


async def committed(store: SqliteStore, life: Life) -> Life:
    """Commit all that happened, step by step."""
    for taken in life.steps:
        await store.commit([taken])
    return life


async def grown(folder: Path, requests: int, **options: Any) -> SqliteStore:
    """A store with so many done requests, u0000000 and on: the rows of one real life, multiplied by plain SQL."""
    folder.mkdir(exist_ok=True)
    store = opened(folder, **options)
    life = await committed(store, Life("template", upload(labels=(("team", "onboarding"),))).until(Phase.DONE))
    uid, many = (
        life.record.uid,
        f"WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < {requests - 1})",
    )

    def multiply(connection: Connection) -> None:
        for table in ("requests", "events", "attempts", "starts", "reservations", "labels"):
            names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            special = {
                "id": f"(SELECT max(id) FROM events) * (n.i + 1) + {table}.id",
                "uid": "printf('u%07d', n.i)",
                "name": "printf('name-%07d', n.i)",
                "reference": "printf('aa-a1-u%07d-1-1', n.i)",
            }
            columns = ", ".join(special.get(name, f"{table}.{name}") for name in names)
            connection.execute(
                f"INSERT INTO {table} ({', '.join(names)}) {many} SELECT {columns} FROM n, {table} WHERE uid = ?",
                (uid,),
            )

    await store._writer.write(multiply)
    return store
