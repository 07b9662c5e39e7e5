"""The names in all request files, before any request is admitted from an incomplete scan.

A name that several documents use must not lead to a start. So the agent first reads every name, at a fortieth of the
cost of parsing, validating and admitting its document. After that, a document whose name is unique can be admitted at
once.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from agent.source.loader import load
from agent.source.yaml_reader import Limits

# One document of plain lines, with its name where most files have it. The value may be invalid or continue on the next
# line. Then the document is refused.
_USUAL = re.compile(rb"(?:apiVersion: [-a-z0-9/]+\n|kind: [A-Za-z]+\n)*metadata:\n  name: ([-a-z0-9.]+)\n")
_SEPARATORS = (b"\n---", b"\n...", b"\r")  # without them, such a file has one document


def names_in(content: bytes, limits: Limits) -> Iterable[str]:
    """The name of each document of this file; also names of documents that the agent will refuse."""
    usual = _USUAL.match(content)
    if usual is not None and not any(separator in content for separator in _SEPARATORS):
        return (usual[1].decode(),)
    return [document.name for document in load(content, "", limits).documents]


@dataclass(slots=True)
class Survey:
    """The names that were found, and the file of each."""

    limits: Limits
    files: dict[str, str] = field(default_factory=dict)  # by name
    shared: set[str] = field(default_factory=set)  # names that were found more than once

    def add(self, path: str, content: bytes) -> None:
        """Add a file."""
        for name in names_in(content, self.limits):
            if name in self.files:
                self.shared.add(name)
            self.files[name] = path

    def is_unique(self, name: str, path: str) -> bool:
        """True if only this file had the name. False as well if the file changed its names since."""
        return self.files.get(name) == path and name not in self.shared
