"""All checks of this machine, in the order of the output."""

import os
from collections.abc import Generator, Iterator

from agent.cli.checks import Check, database, files, images, machine, repository, source, store, warning
from agent.platform.settings import Settings
from agent.source.folder import Folder
from agent.views.phrases import describe_ignored_files


def checks(settings: Settings, offline: bool) -> Iterator[Check]:
    """Run them. `offline`: do not call the git server."""
    running = yield from (_database(settings) if settings.uses_database else _state_file(settings))
    yield from repository.checks(settings, offline)
    yield from _request_files(settings)
    yield machine.time_zone()
    yield from machine.ports(settings, running)
    yield images.tracked(settings.images_dir)
    yield from images.deletable(settings)


def _state_file(settings: Settings) -> Generator[Check, None, bool]:
    """The state file and its folder. Returns true if an agent runs on it."""
    path = settings.state_path
    yield from files.permissions(settings)
    yield files.writable(path.parent)
    yield store.sqlite()
    running = False
    if not path.parent.exists() or os.access(path.parent, os.R_OK | os.X_OK):
        running = yield from store.state_file(settings)
        yield from images.left(settings)
    yield from files.replaced_files(path)
    return running


def _database(settings: Settings) -> Generator[Check, None, bool]:
    """The local files and the database. Returns true if its owner runs on this machine."""
    yield from files.permissions(settings)
    yield files.writable(settings.state_dir, "STATE_DIR")
    yield files.file_system(settings.state_dir)
    yield from files.replaced_files(settings.local_path)
    facts = database.read(settings)
    if isinstance(facts, Check):
        yield facts
        return False
    yield from database.checks(settings, facts)
    if not facts.tables:
        yield from store.lost(settings)
    if facts.migrations is not None:
        from agent.store.postgres.versions import NAMES  # imported late: it needs the driver

        newer = sorted(facts.migrations - set(NAMES))
        if newer:
            yield database.newer(newer[-1])
        yield from store.store(settings, (*NAMES, *newer), database.described(facts.owner))
        yield from images.left(settings)
    return facts.owner is not None and facts.owner.host is None


def _request_files(settings: Settings) -> Iterator[Check]:
    """The request files of SPECS_DIR, or of the current revision, which the agent wrote itself and does not watch."""
    if settings.uses_database:
        yield source.replicas(None if settings.source_url else settings.specs_dir)
    if settings.source_url and not settings.requests_dir.exists():
        yield Check(name="source", message="no revision is fetched yet; `assure-agent plan` fetches and reads one")
        return
    scan = Folder.of(settings, settle=0).scan()
    yield source.source(scan, settings.requests_dir)
    if not settings.source_url:
        yield source.writers(scan, settings.source_owner)
    if scan.passed_over:
        message, _, hint = describe_ignored_files(scan.passed_over).rstrip(".").partition(". Try: ")
        yield warning("ignored files", message, hint)
    yield source.labels(scan)
    if not settings.source_url:
        yield source.provenance(settings.specs_dir, {document.file for document in scan.documents.values()})
        yield machine.watches(settings.specs_dir)
