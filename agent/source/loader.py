"""One file's bytes to its documents and its faults. Whatever the bytes are, nothing but `Loaded` comes out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from agent.core.assure_types import Depiction
from agent.core.field_types import NAME
from agent.core.request import VerificationRequest, canonical
from agent.source.diagnostics import Fault
from agent.source.error_messages import problems
from agent.source.safe_read import Why
from agent.source.yaml_reader import CONTROL, Limits, Mark, Problem, Tree, grow

MAX_FILE_BYTES = Limits().file_bytes

_UNREAD: Mapping[Why, tuple[str, str]] = {
    Why.MISSING: ("there is no such file, or a link leads nowhere", "correct the path or the link"),
    Why.OUTSIDE: ("the link leads out of the source folder", "put a copy into the source folder"),
    Why.IRREGULAR: ("not a regular file", "replace it with a file"),
    Why.TOO_LARGE: ("the file is larger than 1 MiB", "split it into several files"),
    Why.CHANGING: ("the file is being written to", "wait until it is complete"),
    Why.UNREADABLE: ("the file cannot be read", "let the agent's user read it"),
}
_TOLD = 50  # faults of a document that are told one by one
_BOM = "\ufeff"
_GROUP = "assure-agent"
_TAG_DIRECTIVE = re.compile("^%TAG", re.MULTILINE)  # the parser compares each with each: minutes for a megabyte


@dataclass(frozen=True, slots=True, init=False)
class Document:
    """One good document and where it stands. It holds the canonical bytes, not the models: a tenth of the memory.

    `line` counts from 1; `images` says where each image path is written, `type_at` where `documentType` is, if it is.
    """

    name: str  # metadata.name
    canonical: bytes = field(repr=False)  # as `agent.core.request.canonical` writes it: equal bytes, equal document
    file: str
    line: int
    images: tuple[tuple[Depiction, Mark], ...]
    type_at: Mark | None
    keep_at: Mark | None  # where `keep: claims` stands, if it does

    def __init__(
        self,
        request: VerificationRequest,
        file: str,
        line: int,
        images: tuple[tuple[Depiction, Mark], ...] = (),
        type_at: Mark | None = None,
        keep_at: Mark | None = None,
    ) -> None:
        exact = bytes(memoryview(canonical(request)))  # orjson's own bytes keep a buffer of 4 kB
        values = (request.name, exact, file, line, images, type_at, keep_at)
        for slot, value in zip(self.__slots__, values, strict=True):
            object.__setattr__(self, slot, value)

    @property
    def request(self) -> VerificationRequest:
        """The request, read anew from the canonical bytes each time (some 50 µs): keep it while you work with it."""
        return VerificationRequest.model_validate_json(self.canonical)

    def moved(self, file: str) -> "Document":
        """The same document under another file name."""
        return Document(self.request, file, self.line, self.images, self.type_at, self.keep_at)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A file as read. `whole` is False when its end was not reached: documents may be there that nobody has seen."""

    documents: tuple[Document, ...] = ()
    faults: tuple[Fault, ...] = ()
    whole: bool = True


def load(content: bytes, file: str, limits: Limits | None = None, *, foreign: bool = False) -> Loaded:
    """Read a file of requests; `file` is the name to put into faults. Never raises.

    `foreign`: documents of another apiVersion group are passed over, as `OTHER_DOCUMENTS` says.

    Every good document counts, whatever is wrong with its neighbours; all faults of a document are told.
    """
    limits = limits or Limits()
    text = _text(content, limits)
    if isinstance(text, Problem):
        return Loaded(faults=_faults([text], file, None), whole=False)
    documents: list[Document] = []
    faults: list[Fault] = []
    whole, others = True, False
    for tree in grow(text, limits):
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
    if not (documents or faults or others):  # an editor or a full disk may have cut it off
        hint = "write a request into it; to withdraw a request, remove the file"
        faults = [Fault(file=file, message="the file holds no request", hint=hint)]
    return Loaded(tuple(documents), tuple(faults), whole)


def refusal(found: Why, file: str) -> Loaded:
    """A file that could not even be read."""
    message, hint = _UNREAD[found]
    return Loaded(faults=(Fault(file=file, message=message, hint=hint),), whole=False)


def _text(content: bytes, limits: Limits) -> str | Problem:
    if len(content) > limits.file_bytes:
        return Problem((1, 1), *_UNREAD[Why.TOO_LARGE])
    try:
        text = content.decode("utf-8").removeprefix(_BOM)
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        return Problem(_place(before), "the file is not UTF-8 text", "save it as UTF-8")
    if found := CONTROL.search(text):
        return Problem(_place(text[: found.start()]), "control characters are not allowed", "remove the character")
    if found := _TAG_DIRECTIVE.search(text):
        return Problem(_place(text[: found.start()]), "tag directives (`%TAG`) are not allowed", "remove the line")
    return text


def _place(before: str) -> Mark:
    lines = re.split("\r\n|\r|\n", before.removeprefix(_BOM))
    return len(lines), len(lines[-1]) + 1


def _request(tree: Tree) -> VerificationRequest | list[Problem]:
    if tree.cut:  # what follows is unknown, so nothing can be said to be missing
        return tree.problems
    if not isinstance(tree.value, dict):
        hint = "begin with `apiVersion: assure-agent/v1`"
        return [*tree.problems, Problem(tree.near(()), "expected a request: `key: value` lines", hint)]
    try:
        request = VerificationRequest.model_validate(tree.value)
    except ValidationError as error:
        return [*tree.problems, *problems(error, tree)]
    return tree.problems or request


def _document(request: VerificationRequest, tree: Tree, file: str) -> Document:
    upload, below = request.spec.upload, ("spec", "upload")
    images = tuple((one, tree.near((*below, "images", one))) for one in (upload.images.paths if upload else ()))
    typed = upload is not None and upload.document_type is not None
    type_at = tree.near((*below, "documentType")) if typed else None
    keep_at = tree.near(("spec", "result", "keep")) if request.spec.result.keep == "claims" else None
    return Document(request, file, tree.near(())[0], images, type_at, keep_at)


def _is_foreign(tree: Tree) -> bool:
    """True for a document that names another apiVersion group, such as a Kustomization."""
    version = tree.value.get("apiVersion") if isinstance(tree.value, dict) else None
    return isinstance(version, str) and version.partition("/")[0] != _GROUP


def _name(tree: Tree) -> str | None:
    """metadata.name of a document that is not good, when it is a name."""
    return tree.name if isinstance(tree.name, str) and NAME.fits(tree.name) else None


def _faults(found: list[Problem], file: str, name: str | None) -> tuple[Fault, ...]:
    told = sorted(found, key=lambda one: one.mark)
    if len(told) > _TOLD:  # a hostile file may have thousands
        more = f"and {len(told) - _TOLD} more faults in this document"
        told = [*told[:_TOLD], Problem(told[_TOLD].mark, more, "mend the first ones, then look again")]
    return tuple(
        Fault(file=file, line=one.mark[0], column=one.mark[1], message=one.message, hint=one.hint, name=name)
        for one in told
    )
