"""Turn the bytes of a request file into its documents and faults. Any input gives a `LoadedFile`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from agent.core.assure_types import Depiction
from agent.core.field_types import NAME
from agent.core.request import VerificationRequest, canonical, read_request
from agent.source.diagnostics import Fault
from agent.source.error_messages import problems
from agent.source.safe_read import ReadFailure
from agent.source.yaml_reader import CONTROL, Limits, Position, YamlDocument, YamlProblem, parse_documents

MAX_FILE_BYTES = Limits().file_bytes

_READ_FAILURES: Mapping[ReadFailure, tuple[str, str]] = {
    ReadFailure.MISSING: ("the file does not exist, or is a link that leads nowhere", "correct the path or the link"),
    ReadFailure.OUTSIDE: ("the link leads out of the source folder", "put a copy of the file into the source folder"),
    ReadFailure.IRREGULAR: ("the path is not a regular file", "replace it with a regular file"),
    ReadFailure.TOO_LARGE: ("the file is larger than 1 MiB", "split it into several files"),
    ReadFailure.CHANGING: ("the file changed while the agent read it", "wait until it is completely written"),
    ReadFailure.UNREADABLE: ("the file cannot be read", "give the agent's user read permission (chmod, chown)"),
}
_MAX_REPORTED = 50  # faults of a document that are listed
_BOM = "\ufeff"
_GROUP = "assure-agent"
_TAG_DIRECTIVE = re.compile("^%TAG", re.MULTILINE)  # the parser compares all pairs of them: minutes for a megabyte


@dataclass(slots=True)
class Document:
    """One valid document and its position in the source.

    It keeps the canonical bytes for the digest. The model takes five times the memory, and is kept until `release`.
    """

    name: str  # metadata.name
    canonical: bytes = field(repr=False)  # equal bytes, equal document: see `agent.core.request.canonical`
    file: str
    line: int  # from 1
    images: tuple[tuple[Depiction, Position], ...]  # the position of each image path
    type_at: Position | None  # the position of `documentType`
    id_at: Position | None  # the position of `documentId`
    keep_at: Position | None  # the position of `keep: claims`
    _model: VerificationRequest | None = field(repr=False, compare=False)

    @property
    def request(self) -> VerificationRequest:
        """The request. After `release`, each access parses the canonical bytes, which are valid."""
        return self._model or VerificationRequest.model_validate_json(self.canonical)

    def release(self) -> None:
        """Drop the model."""
        self._model = None


@dataclass(frozen=True, slots=True)
class LoadedFile:
    """The content of a file. `whole` is False if the reader stopped early: the rest may contain more documents."""

    documents: tuple[Document, ...] = ()
    faults: tuple[Fault, ...] = ()
    whole: bool = True


def load(content: bytes, file: str, limits: Limits | None = None, *, foreign: bool = False) -> LoadedFile:
    """Read a request file; `file` is its name in faults. Never raises.

    With `foreign`, documents of another apiVersion group are ignored (setting OTHER_DOCUMENTS). Each valid document is
    returned, even if other documents of the file are invalid. All faults of a document are reported.
    """
    limits = limits or Limits()
    text = _text(content, limits)
    if isinstance(text, YamlProblem):
        return LoadedFile(faults=_faults([text], file, None), whole=False)
    documents: list[Document] = []
    faults: list[Fault] = []
    whole, others = True, False
    for tree in parse_documents(text, limits):
        whole = not tree.cut
        if tree.value is None and not tree.problems:
            continue
        if foreign and _is_foreign(tree):
            others = True
            continue
        found = _request(tree)
        if isinstance(found, VerificationRequest):
            documents.append(_document(found, tree, file))
        else:
            faults.extend(_faults(found, file, _name(tree)))
    if not (documents or faults or others):  # an editor or a full disk may have emptied it
        hint = "write a request into it, or remove the file to withdraw its requests"
        faults = [Fault(file=file, message="the file contains no request", hint=hint)]
    return LoadedFile(tuple(documents), tuple(faults), whole)


def refusal(found: ReadFailure, file: str) -> LoadedFile:
    """The result for a file that could not be read."""
    message, hint = _READ_FAILURES[found]
    return LoadedFile(faults=(Fault(file=file, message=message, hint=hint),), whole=False)


def _text(content: bytes, limits: Limits) -> str | YamlProblem:
    if len(content) > limits.file_bytes:
        return YamlProblem((1, 1), *_READ_FAILURES[ReadFailure.TOO_LARGE])
    try:
        text = content.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        return YamlProblem(_place(before), "the file is not UTF-8 text", "save it as UTF-8")
    if found := CONTROL.search(text):
        return YamlProblem(_place(text[: found.start()]), "control characters are not allowed", "remove the character")
    if found := _TAG_DIRECTIVE.search(text):
        return YamlProblem(_place(text[: found.start()]), "tag directives (`%TAG`) are not allowed", "remove the line")
    return text


def _place(before: str) -> Position:
    lines = re.split("\r\n|\r|\n", before.removeprefix(_BOM))
    return len(lines), len(lines[-1]) + 1


def _request(tree: YamlDocument) -> VerificationRequest | list[YamlProblem]:
    if tree.cut:  # the rest is unknown, so that no field can be reported as missing
        return tree.problems
    if not isinstance(tree.value, dict):
        hint = "begin the document with `apiVersion: assure-agent/v1`"
        return [*tree.problems, YamlProblem(tree.position_of(()), "expected a request: `key: value` lines", hint)]
    try:
        request = read_request(tree.value)
    except ValidationError as error:
        return [*tree.problems, *problems(error, tree)]
    return tree.problems or request


def _document(request: VerificationRequest, tree: YamlDocument, file: str) -> Document:
    upload, below = request.spec.upload, ("spec", "upload")
    images = tuple((one, tree.position_of((*below, "images", one))) for one in (upload.images.paths if upload else ()))
    type_at = id_at = None
    if upload is not None and upload.document_type is not None:
        type_at = tree.position_of((*below, "documentType"))
    elif upload is not None:
        id_at = tree.position_of((*below, "documentId"))
    keep_at = tree.position_of(("spec", "result", "keep")) if request.spec.result.keep == "claims" else None
    exact = bytes(memoryview(canonical(request)))  # a copy: the bytes of orjson keep a buffer of 4 kB
    return Document(request.name, exact, file, tree.position_of(())[0], images, type_at, id_at, keep_at, request)


def _is_foreign(tree: YamlDocument) -> bool:
    """True for a document that names another apiVersion group, such as a Kustomization."""
    version = tree.value.get("apiVersion") if isinstance(tree.value, dict) else None
    return isinstance(version, str) and version.partition("/")[0] != _GROUP


def _name(tree: YamlDocument) -> str | None:
    """metadata.name of an invalid document, if it is a valid name."""
    return tree.name if isinstance(tree.name, str) and NAME.fits(tree.name) else None


def _faults(found: list[YamlProblem], file: str, name: str | None) -> tuple[Fault, ...]:
    reported = sorted(found, key=lambda one: one.mark)
    if len(reported) > _MAX_REPORTED:  # a hostile file may have thousands
        left = len(reported) - _MAX_REPORTED
        more = f"and {left} more fault{'s' * (left != 1)} in this document"
        reported = [
            *reported[:_MAX_REPORTED],
            YamlProblem(reported[_MAX_REPORTED].mark, more, "correct the first ones, then validate again"),
        ]
    return tuple(
        Fault(file=file, line=one.mark[0], column=one.mark[1], message=one.message, hint=one.hint, name=name)
        for one in reported
    )
