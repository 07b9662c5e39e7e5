"""Recorded scenarios: changes to a folder, and the result that an agent must reach, killed or not.

A scenario is a script that writes files and waits for records. It never waits for a fixed time, so it continues in the
same way after a break of the agent.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.core.record import Phase
from agent.sandbox.faults.rules import Kind, Rule
from verification.builders.pictures import jpeg
from verification.builders.request_files import (
    IDENTITY_CARD,
    capture_spec,
    request_file,
    upload_spec,
    write_atomically,
    write_pictures,
)
from verification.in_process_transport import FAILURES
from verification.simulation import Simulation

Script = Callable[[Simulation], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A script with its faults and settings. `same` is false when the result depends on timing."""

    script: Script
    trouble: tuple[Rule, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    same: bool = True


def _write(stage: Simulation, spec: dict[str, Any], name: str = "a", **annotations: str) -> None:
    marked = {f"assure-agent/{key}": value for key, value in annotations.items()}
    write_atomically(stage.specs / f"{name}.yaml", request_file(name, spec, annotations=marked))


def _upload(stage: Simulation, marker: str = "", *, back: bool = False, **spec: Any) -> dict[str, Any]:
    images = write_pictures(stage.images, "a", marker, back=back, selfie="processType" in spec)
    return upload_spec(images, **spec)


async def _reaches(stage: Simulation, *phases: Phase) -> None:
    await stage.until(lambda: (one := stage.records().get("a")) is not None and one.phase in phases)


async def _is_held(stage: Simulation) -> str:
    await stage.until(lambda: (one := stage.records().get("a")) is not None and one.hold is not None)
    hold = stage.records()["a"].hold
    assert hold is not None
    return hold.id


async def _is_done(stage: Simulation, generation: int = 1) -> None:
    def done() -> bool:
        one = stage.records().get("a")
        return one is not None and one.phase is Phase.DONE and one.generation >= generation

    await stage.until(done)


def _simply(marker: str, **spec: Any) -> Script:
    async def script(stage: Simulation) -> None:
        _write(stage, _upload(stage, marker, **dict(spec)))
        await _is_done(stage)

    return script


def _by_capture(wish: str, **spec: Any) -> Script:
    async def script(stage: Simulation) -> None:
        _write(stage, capture_spec(wish, **spec))
        await _is_done(stage)

    return script


def _bystander(stage: Simulation) -> None:
    """Another request: a folder that is empty withdraws nothing by itself."""
    _write(stage, capture_spec(suspend=True), "bystander")


async def _withdrawn(stage: Simulation) -> None:
    """Remove the file while Assure works."""
    _bystander(stage)
    _write(stage, _upload(stage, "sandbox-delay=5m"))
    await _reaches(stage, Phase.RESULT)
    (stage.specs / "a.yaml").unlink()
    await _is_done(stage)


async def _withdrawn_at_once(stage: Simulation) -> None:
    """Remove the file as soon as the request is known."""
    _bystander(stage)
    _write(stage, _upload(stage, "sandbox-delay=5m"))
    await stage.until(lambda: "a" in stage.records(), every=0.01)
    (stage.specs / "a.yaml").unlink()
    await _is_done(stage)


async def _changed(stage: Simulation, answer: str, generation: int) -> None:
    """Change the document after the start. The operator decides."""
    _write(stage, _upload(stage, "sandbox-delay=3m"))
    await _reaches(stage, Phase.RESULT)
    other = _upload(stage, "sandbox-delay=3m", processType="documentSelfie")
    _write(stage, other)
    hold_id = await _is_held(stage)
    _write(stage, other, resolve=f"{answer}@{hold_id}")
    await _is_done(stage, generation)


async def _changed_early(stage: Simulation) -> None:
    """Change the document before the start, which creates a new generation and deletes the old dossier."""
    spec = _upload(stage, document_id=IDENTITY_CARD)  # two pages and no back: held before the start
    _write(stage, spec)
    await _is_held(stage)
    _write(stage, _upload(stage, document_id=IDENTITY_CARD, back=True))
    await _is_done(stage, 2)


async def _given_up(stage: Simulation) -> None:
    """Abandon a held request."""
    spec = _upload(stage, document_id=IDENTITY_CARD)
    _write(stage, spec)
    hold_id = await _is_held(stage)
    _write(stage, spec, resolve=f"abandon@{hold_id}")
    await _is_done(stage)


async def _refused_then_retried(stage: Simulation) -> None:
    """Change a picture after admission, then restore it."""
    _write(stage, _upload(stage, suspend=True))
    await stage.until(lambda: "a" in stage.records())
    front = stage.images / "a" / "front.jpg"
    kept = front.read_bytes()
    write_atomically(front, jpeg("another"))
    _write(stage, {**_upload_kept(stage), "suspend": False})
    await _is_held(stage)
    write_atomically(front, kept)
    await _is_done(stage)


def _upload_kept(stage: Simulation) -> dict[str, Any]:
    front = (stage.images / "a" / "front.jpg").read_bytes()
    spec = _upload(stage)
    write_atomically(stage.images / "a" / "front.jpg", front)
    return spec


async def _rerun(stage: Simulation) -> None:
    """Request a rerun of a finished request."""
    spec = _upload(stage)
    _write(stage, spec)
    await _is_done(stage)
    _write(stage, spec, rerun="again")
    await _is_done(stage, 2)


async def _crowded(stage: Simulation) -> None:
    """Push the dossier of a lost answer out of the list with dossiers of others, then delete those."""
    _write(stage, _upload(stage))
    await stage.until(lambda: stage.world.dossiers, every=0.01)
    theirs = [stage.world.create_dossier({"externalReference": f"theirs-{number}-1"}) for number in range(100)]
    await _is_done(stage)
    for one in theirs:
        stage.world.delete_dossier(one["dossierId"])


async def _every_connection_fails(stage: Simulation) -> None:
    """Every second call meets the next of the failures of a connection."""
    stage.failures = [one for failure in FAILURES for one in (failure, None)]
    _write(stage, _upload(stage, read_back=True))
    await _is_done(stage)


def _rule(operation: str, kind: Kind, **more: Any) -> Rule:
    return Rule(operation=operation, kind=kind, **({"nth": 1} | more))


SCENARIOS: dict[str, Scenario] = {
    "upload, accepted": Scenario(script=_simply("sandbox-outcome=accepted", processType="documentSelfie")),
    "upload, rejected": Scenario(script=_simply("sandbox-outcome=rejected", read_back=True)),
    "upload, inconclusive": Scenario(script=_simply("sandbox-outcome=inconclusive")),
    "upload, failed": Scenario(script=_simply("sandbox-outcome=failed", document_id=IDENTITY_CARD, back=True)),
    "upload, expired": Scenario(script=_simply("sandbox-delay=30m", deadline="300s")),  # two kills delay the start
    "document type by name": Scenario(script=_simply("", document_type={"country": "NLD", "type": "passport"})),
    "capture, accepted": Scenario(script=_by_capture("accepted")),
    "capture, canceled": Scenario(script=_by_capture("canceled")),
    "capture, abandoned": Scenario(script=_by_capture("abandoned", deadline="120s")),
    "retention": Scenario(script=_simply("", retention="90s")),
    "withdrawn": Scenario(script=_withdrawn),
    "withdrawn at once": Scenario(script=_withdrawn_at_once, same=False),
    "changed, not verified again": Scenario(script=lambda stage: _changed(stage, "abandon", 1)),
    "changed, verified again": Scenario(script=lambda stage: _changed(stage, "retry", 2)),
    "changed before the start": Scenario(script=_changed_early),
    "held, given up": Scenario(script=_given_up),
    "held, mended": Scenario(script=_refused_then_retried),
    "asked for again": Scenario(script=_rerun),
    "answers lost": Scenario(
        script=_simply("sandbox-outcome=rejected"),
        trouble=tuple(
            _rule(operation, Kind.RESET_AFTER)
            for operation in ("createDossier", "createProcess", "setImages", "startVerification", "deleteDossier")
        ),
    ),
    "connections fail": Scenario(script=_every_connection_fails),
    "calls late": Scenario(
        script=_simply("sandbox-outcome=rejected"),
        trouble=(
            _rule("createDossier", Kind.LATENCY, seconds=38.0),  # acts eight seconds after the timeout of the agent
            _rule("startVerification", Kind.LATENCY, seconds=38.0),
        ),
    ),
    "an answer lost, the list full": Scenario(script=_crowded, trouble=(_rule("createDossier", Kind.RESET_AFTER),)),
}
