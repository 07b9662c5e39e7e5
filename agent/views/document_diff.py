"""The fields of a request file that differ from the admitted document.

The agent keeps no annotations, only the digest of the whole document. Labels, image paths, the redirect URL and rerun
tokens may be personal data: their values are shown only on request [I6].
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agent.core.duration import format_duration
from agent.core.record import Desired, Record

MASK = "***"
_OF_COMMAND = "command-"  # begins the token of `assure-agent rerun`, which is in no file


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldChange:
    """A field with its path in the file. A value is None if the field is absent."""

    path: str
    old: str | None
    new: str | None
    personal: bool = False

    def shown(self, personal: bool) -> tuple[str | None, str | None]:
        """Both values; personal ones are masked unless `personal`."""
        if personal or not self.personal:
            return self.old, self.new
        return self.old and MASK, self.new and MASK


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDiff:
    """The difference between the admitted document and the file. There is at least one field."""

    generation: int | None  # of the admitted document; None for a new request
    place: str  # FILE:LINE; empty if the file is gone
    fields: tuple[FieldChange, ...]

    @property
    def changes(self) -> bool:
        """True if the request is neither new nor removed."""
        return self.generation is not None and bool(self.place)

    def lines(self, name: str, personal: bool = False) -> Iterator[str]:
        """The unified form: a header of two lines, then the old and the new value of each field."""
        yield f"--- {'/dev/null' if self.generation is None else f'{name} (admitted, generation {self.generation})'}"
        yield f"+++ {f'{name} ({self.place})' if self.place else '/dev/null'}"
        for field in self.fields:
            for sign, value in zip("-+", field.shown(personal), strict=True):
                if value is not None:
                    yield f"{sign}{field.path}: {value}"

    def json(self, personal: bool = False) -> list[dict[str, str | None]]:
        """The fields as JSON; an absent value is null."""
        return [
            dict(zip(("path", "old", "new"), (field.path, *field.shown(personal)), strict=True))
            for field in self.fields
        ]


def document_diff(admitted: Record | None, written: Desired | None) -> DocumentDiff | None:
    """Compare the newest admitted document of a record with the document in the file; None if they are equal.

    `admitted` is None for a new request, `written` if the file is gone.
    """
    if admitted is not None and not admitted.name:
        admitted = None  # forgotten: its document is erased
    old = None if admitted is None else admitted.next or admitted.desired
    if old is not None and written is not None and old.digest == written.digest:
        return None
    fields = tuple(_changed_fields(old, written))
    if not fields:
        return None
    return DocumentDiff(
        generation=None if admitted is None else admitted.generation + (admitted.next is not None),
        place=f"{written.file}:{written.line}" if written is not None else "",
        fields=fields,
    )


def _changed_fields(old: Desired | None, new: Desired | None) -> Iterator[FieldChange]:
    before = dict(document_fields(old)) if old is not None else {}
    after = dict(document_fields(new)) if new is not None else {}
    changed = [path for path in before | after if before.get(path) != after.get(path)]
    for path in changed:
        yield FieldChange(path=path, old=before.get(path), new=after.get(path), personal=is_personal(path))
    if not changed:
        yield FieldChange(path="metadata.annotations", old="(only a digest is kept)", new="(changed)")


def is_personal(path: str) -> bool:
    """True if the value of this field may be personal data."""
    return path.startswith(("metadata.", "spec.upload.images.")) or path == "spec.capture.redirectUrl"


def document_fields(desired: Desired) -> Iterator[tuple[str, str]]:
    """The fields of a document that the agent keeps, with their paths. Absent fields are left out."""
    for key, value in desired.labels:
        yield f"metadata.labels.{key}", value
    if desired.rerun is not None and not desired.rerun.startswith(_OF_COMMAND):
        yield "metadata.annotations.assure-agent/rerun", desired.rerun
    yield "spec.processType", desired.process_type.value
    for path, value in _mode_fields(desired):
        if value is not None:
            yield path, value
    yield "spec.deadline", format_duration(desired.deadline)
    yield "spec.retention", format_duration(desired.retention)
    yield "spec.result.keep", "outcome" if desired.claims_ttl is None else "claims"
    if desired.claims_ttl is not None:
        yield "spec.result.claimsTtl", format_duration(desired.claims_ttl)
    yield "spec.suspend", _boolean(desired.suspend)


def _mode_fields(desired: Desired) -> Iterator[tuple[str, Any]]:
    """The fields of `spec.upload` or `spec.capture`."""
    if (capture := desired.capture) is not None:
        yield "spec.capture.redirectUrl", capture.redirect_url
        yield "spec.capture.uiProfile", capture.ui_profile
        yield "spec.capture.language", capture.language
        yield "spec.capture.defaultCountry", capture.default_country
        yield "spec.capture.requestDomain", capture.request_domain
        return
    if (kind := desired.document_type) is not None:  # admission set the id
        yield "spec.upload.documentType.country", kind.country
        yield "spec.upload.documentType.type", kind.type
    elif desired.document_id is not None:
        yield "spec.upload.documentId", str(desired.document_id)
    for image in desired.images:
        yield f"spec.upload.images.{image.depiction}", image.path
    yield "spec.upload.readBack", _boolean(desired.read_back)


def _boolean(value: bool) -> str:
    return str(value).lower()
