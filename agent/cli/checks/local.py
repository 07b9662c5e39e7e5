"""All checks of this machine, in the order of the output."""

import os
from collections.abc import Iterator

from agent.cli.checks import Check, files, images, machine, repository, source, store, warning
from agent.platform.settings import Settings
from agent.source.folder import Folder
from agent.views.phrases import describe_ignored_files


def checks(settings: Settings, offline: bool) -> Iterator[Check]:
    """Run them. `offline`: do not call the git server."""
    path = settings.state_path
    yield from files.permissions(path)
    yield files.writable(path.parent)
    yield store.sqlite()
    if not path.parent.exists() or os.access(path.parent, os.R_OK | os.X_OK):
        yield from store.store(path, settings)
    yield from files.replaced_files(path)
    yield from repository.checks(settings, offline)
    yield from _request_files(settings)
    yield machine.time_zone()
    yield from machine.ports(settings)
    yield images.tracked(settings.images_dir)
    yield from images.deletable(settings)


def _request_files(settings: Settings) -> Iterator[Check]:
    """The request files of SPECS_DIR, or of the current revision, which the agent wrote itself and does not watch."""
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
