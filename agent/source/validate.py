"""Validate files and folders as the agent does, without waiting until files are old enough."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from agent.ports import UnusableImage
from agent.source.diagnostics import Fault, printable_path
from agent.source.folder import Folder, unique
from agent.source.images import ImageFolder
from agent.source.loader import Document, LoadedFile, load, refusal
from agent.source.ownership import Owners
from agent.source.safe_read import Content, read_beneath
from agent.source.yaml_reader import Limits

MAX_IMAGE_BYTES = 10 << 20


@dataclass(frozen=True, slots=True)
class Validated:
    """All faults of some files, in order, and the files that were probably meant to be request files."""

    faults: list[Fault]
    passed_over: list[str]
    files: int
    requests: int  # valid ones, and those whose images are faulty


def validate(
    paths: Sequence[Path],
    images_dir: Path | None,
    max_image_bytes: int = MAX_IMAGE_BYTES,
    claims: bool = True,
    owners: Owners | None = None,
    *,
    foreign: bool = False,
) -> Validated:
    """Validate the given files and folders. Request names are compared across all of them.

    With `images_dir` the images are checked as well. `claims` is True if CLAIMS_KEY is set. The `file` of a fault
    begins with the given path. With `foreign`, documents of other kinds are ignored.
    """
    faults: list[Fault] = []
    documents: list[Document] = []
    passed_over: list[str] = []
    files = 0
    for loaded in _once(paths, owners or Owners(), foreign, passed_over):
        files += 1
        faults += loaded.faults
        documents += loaded.documents
    faults += unique(documents)[1]
    if not claims:
        faults += [without_key(one, one.keep_at) for one in documents if one.keep_at is not None]
    if images_dir is not None:
        images = ImageFolder(images_dir, max_image_bytes)
        for document in documents:
            upload = document.request.spec.upload
            found = images.inspect(upload.images.paths) if upload else ()
            if isinstance(found, tuple):
                faults += image_faults(document, found)
    faults.sort(key=lambda fault: (fault.file, fault.line, fault.column))
    return Validated(faults, sorted(set(passed_over)), files, len(documents))


def image_faults(document: Document, unusable: Iterable[UnusableImage]) -> Iterator[Fault]:
    """The faults of a document's images, at the positions of their paths."""
    positions = dict(document.images)
    for one in unusable:
        line, column = positions.get(one.depiction, (document.line, 1))
        message, hint = one.message, one.hint
        yield Fault(file=document.file, line=line, column=column, message=message, hint=hint, name=document.name)


def without_key(document: Document, mark: tuple[int, int]) -> Fault:
    """The fault of a document that keeps claims without a CLAIMS_KEY to encrypt them."""
    message = "spec.result.keep: claims cannot be kept, because CLAIMS_KEY is not set"
    hint = "set ASSURE_AGENT_CLAIMS_KEY (`openssl rand -base64 32` creates a key), or use keep: outcome"
    line, column = mark
    return Fault(file=document.file, line=line, column=column, message=message, hint=hint, name=document.name)


def _once(paths: Sequence[Path], owners: Owners, foreign: bool, passed_over: list[str]) -> Iterator[LoadedFile]:
    """Each file once, even if several paths name it. Ignored files are added to `passed_over`."""
    seen: set[str] = set()
    for path in paths:
        folder = Path(os.path.realpath(path if path.is_dir() else path.parent))
        found = _folder(path, owners, foreign, passed_over) if path.is_dir() else [_file(path, owners, foreign)]
        for below, loaded in found:
            if (place := str(folder / below)) not in seen:
                seen.add(place)
                yield loaded


def _folder(path: Path, owners: Owners, foreign: bool, passed_over: list[str]) -> Iterator[tuple[str, LoadedFile]]:
    folder = Folder(path, settle=0, foreign=foreign, owners=owners)
    passed_over += (_join(path, file) for file in folder.scan().passed_over)
    for below, loaded in folder.loaded_files():
        documents = tuple(replace(one, file=_join(path, one.file)) for one in loaded.documents)
        yield below, LoadedFile(documents, tuple(replace(one, file=_join(path, one.file)) for one in loaded.faults))


def _file(path: Path, owners: Owners, foreign: bool) -> tuple[str, LoadedFile]:
    name, limits = printable_path(str(path)), Limits()
    real = Path(os.path.realpath(path))
    found = read_beneath(str(real.parent), real.name, limits.file_bytes)
    if not isinstance(found, Content):
        return path.name, refusal(found, name)
    if owners.refuse:
        with contextlib.suppress(OSError):
            if (exposed := owners.of_file(name, real.stat())) is not None:
                return path.name, LoadedFile(faults=(exposed,), whole=False)
    return path.name, load(found.content, name, limits, foreign=foreign)


def _join(folder: Path, file: str) -> str:
    return f"{printable_path(str(folder))}/{file}"
