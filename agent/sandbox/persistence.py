"""Saves the world to a file, so that a restarted simulator finds its dossiers. This is a choice of the sandbox.

The file holds the images of a process only until its verification starts, and from then on only their digests. User
data and files stay as long as their dossier. Tokens are not saved.
"""

import base64
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from agent.sandbox.ledger import DossierEntry, EventEntry, ProcessEntry
from agent.sandbox.model import Capture, Configuration, Dossier, Image, Json, Process, UserData, Verdict
from agent.sandbox.world import World

VERSION = 1


def dump(world: World) -> bytes:
    """The world and its ledger as JSON."""
    captures = [entry for entry in world.flows.captures.values() if entry.dossier_id in world.dossiers]
    return orjson.dumps(
        {
            "version": VERSION,
            "ids_made": world.ids_made,
            "dossiers": [_dossier(dossier) for dossier in world.dossiers.values()],
            "configurations": list(world.configurations.known.values()),
            "processes": [_process(process) for process in world.processes.values()],
            "captures": captures,
            "ledger": {
                "calls": dict(world.ledger.calls),
                "violations": world.ledger.violations,
                "dossiers": list(world.ledger.dossiers.values()),
                "events": world.ledger.events,
            },
        }
    )


class IncompatibleSnapshot(ValueError):
    """The file does not match this version of the sandbox."""


def restore(world: World, path: Path) -> None:
    """Fill an empty world from this file. Raise IncompatibleSnapshot when the file does not match."""
    try:
        load(world, path.read_bytes())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise IncompatibleSnapshot(f"{path} is not what this version of the sandbox wrote.") from None


def load(world: World, content: bytes) -> None:
    """Fill an empty world. Raise ValueError for a file of another version."""
    saved: dict[str, Any] = orjson.loads(content)
    if saved.get("version") != VERSION:
        raise ValueError(f"this sandbox file is of version {saved.get('version')}, not {VERSION}")
    world.ids_made = saved["ids_made"]
    world.dossiers.update((row["dossier_id"], _restored_dossier(row)) for row in saved["dossiers"])
    for row in saved.get("configurations", ()):
        world.configurations.known[row["configuration_id"]] = Configuration(**row)
    world.processes.update((row["process_id"], _restored(row)) for row in saved["processes"])
    ledger = saved["ledger"]
    world.ledger.calls.update(ledger["calls"])
    world.ledger.violations.extend(ledger["violations"])
    for row in ledger["dossiers"]:
        processes = [ProcessEntry(**entry) for entry in row["processes"]]
        world.ledger.enter(DossierEntry(**row | {"processes": processes}))
    for row in ledger.get("events", ()):
        state = "lost" if row["state"] == "under-way" else row["state"]
        world.ledger.events.append(EventEntry(**row | {"state": state}))
    for row in saved["captures"]:
        capture = Capture(**row)
        world.flows.captures[capture.token] = capture
        world.flows.expect(capture)


def write(path: Path, content: bytes) -> None:
    """Replace the file atomically, with read permission for its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".new")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _dossier(dossier: Dossier) -> Json:
    files = {name: _image(image, whole=True) for name, image in dossier.files.items()}
    return asdict(dossier) | {"files": files}


def _restored_dossier(row: Json) -> Dossier:
    user_data = UserData(**row["user_data"]) if row.get("user_data") else None
    return Dossier(**row | {"user_data": user_data, "files": _images(row.get("files", {}))})


def _process(process: Process) -> Json:
    images = {name: _image(image, whole=process.verdict is None) for name, image in process.images.items()}
    return asdict(process) | {"images": images}


def _image(image: Image, *, whole: bool) -> Json:
    content = base64.b64encode(image.content).decode() if whole and image.content is not None else None
    return {"media_type": image.media_type, "digest": image.digest, "content": content}


def _restored(row: Json) -> Process:
    verdict = Verdict(**row["verdict"]) if row["verdict"] else None
    return Process(**row | {"images": _images(row["images"]), "verdict": verdict})


def _images(saved: Json) -> dict[str, Image]:
    return {
        name: Image(**image | {"content": base64.b64decode(image["content"]) if image["content"] else None})
        for name, image in saved.items()
    }
