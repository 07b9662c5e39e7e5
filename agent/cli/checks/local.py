"""All checks of this machine, in the order of the output."""

import os
from collections.abc import Iterator

from agent.cli.checks import Check, files, images, machine, source, store, warning
from agent.platform.settings import Settings
from agent.source.choice import source_of
from agent.views.phrases import describe_ignored_files


def checks(settings: Settings) -> Iterator[Check]:
    """Run them."""
    path = settings.state_path
    yield from files.permissions(path)
    yield files.writable(path.parent)
    yield store.sqlite()
    if not path.parent.exists() or os.access(path.parent, os.R_OK | os.X_OK):
        yield from store.store(path, settings)
    scan = source_of(settings, settle=0).scan()
    yield from files.replaced_files(path)
    yield source.source(scan, settings.specs_dir)
    yield source.writers(scan, settings.source_owner)
    if scan.passed_over:
        message, _, hint = describe_ignored_files(scan.passed_over).rstrip(".").partition(". Try: ")
        yield warning("ignored files", message, hint)
    yield source.labels(scan)
    yield source.provenance(settings.specs_dir, {document.file for document in scan.documents.values()})
    yield machine.watches(settings.specs_dir)
    yield machine.time_zone()
    yield from machine.ports(settings)
    yield images.tracked(settings.images_dir)
    yield from images.deletable(settings)
