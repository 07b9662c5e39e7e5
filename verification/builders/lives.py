"""The life of one request, step by step, as the core takes it."""

from typing import Any

from agent.core.answer import Evidence
from agent.core.assure_types import DossierReading, ListedProcess, ProcessReading, Status
from agent.core.effect import EffectKind
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
from verification.builders.records import NOW, unadmitted, upload

DEFAULT_POLICY = Policy()
LINK = "https://capture.example/flow/a-very-secret-link"


class Life:
    """One request; `steps` are all its steps so far, in the order in which they are to be committed."""

    def __init__(self, uid: str = "u1", desired: Desired | None = None, at: float = NOW, **fields: Any) -> None:
        self.at = at
        given = {"uid": uid, "name": f"name-{uid}"} | fields
        self.steps: list[Step] = [admit(unadmitted(desired or upload(back=False), **given), at, DEFAULT_POLICY)]

    @property
    def record(self) -> Record:
        return self.steps[-1].record

    def sees(self, observation: type[Observation], **fields: Any) -> Step:
        """Fold an observation, a second later."""
        self.at += 1
        taken = step(self.record, observation(at=self.at, **fields), DEFAULT_POLICY)
        if taken.changed:
            self.steps.append(taken)
        return taken

    def until(self, phase: Phase) -> "Life":
        """Take the steps of a request without failures until this phase."""
        while self.record.phase is not phase:
            self.goes_on()
        return self

    def goes_on(self) -> None:
        """Take the next step of a request without failures."""
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
        uid, pages = self.record.uid, max(1, len(self.record.desired.images))
        process = {"process_id": f"P-{uid}", "status": Status.PENDING, "document_pages": pages}
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
        """GET process answers with this status."""
        reading = ProcessReading(process_id=self.record.process_id or "", status=status)
        return self.sees(ProcessRead, reading=reading)

    def _has_a_result(self) -> None:
        if self.record.process_id is not None:
            self.reads(Status.ACCEPTED)
            return
        one = ListedProcess(process_id="P7", provider="p", process_type="document", status=Status.ACCEPTED)
        reading = DossierReading(dossier_id=self.record.dossier_id or "", reference=None, processes=(one,))
        self.sees(DossierRead, reading=reading)
