"""A name belongs to one document. Where several claim it, none of them has it, and each is told of the others."""

from collections.abc import Iterable

from agent.source.diagnostics import Fault
from agent.source.loader import Document

_TOLD = 5  # how many of the others a fault names


def unique(documents: Iterable[Document]) -> tuple[dict[str, Document], tuple[Fault, ...], frozenset[str]]:
    """The documents whose name is theirs alone, a fault for each of the others, and the names that are shared."""
    found: dict[str, Document] = {}
    shared: dict[str, list[Document]] = {}
    for document in documents:
        first = found.setdefault(document.name, document)
        if first is not document:
            shared.setdefault(first.name, [first]).append(document)
    for name in shared:
        del found[name]
    faults = tuple(_fault(one, same) for same in shared.values() for one in same)
    return found, faults, frozenset(shared)


def _fault(document: Document, same: list[Document]) -> Fault:
    others = [f"{other.file}:{other.line}" for other in same if other is not document]
    more = f" and {len(others) - _TOLD} more" if len(others) > _TOLD else ""
    return Fault(
        file=document.file,
        line=document.line,
        message=f"metadata.name is not unique, also at {', '.join(others[:_TOLD])}{more}",
        hint="give each request its own name",
        name=document.name,
    )
