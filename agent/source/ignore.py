"""Request files, ignored paths, and names that are probably mistakes.

The name of a request file ends in `.yaml` or `.yml`, in upper or lower case. `.assureignore` at the top of the source
lists ignored paths in the format of `.gitignore`. The agent also ignores a name such as `customer.yaml.txt`, and
reports it.
"""

import re
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from agent.source.diagnostics import Fault
from agent.source.safe_read import Content, ReadFailure, read_beneath

IGNORE_FILE = ".assureignore"

_ENDINGS = (".yaml", ".yml")
_MISSPELT = re.compile(r"\.ya?ml|\.(?:yam|yamll|ymal|yalm|jaml)$")
_LONGEST = 64 * 1024  # bytes of the list
_CACHE_SIZE = 200_000  # paths


def is_request_file(name: str) -> bool:
    """True for a name that ends in `.yaml` or `.yml`."""
    return name.lower().endswith(_ENDINGS)


def is_near_miss(name: str) -> bool:
    """True for a name that was probably meant for a request file: `a.yaml.txt`, `a.yaml~` or `a.yam`."""
    lower = name.lower()
    return not lower.endswith(_ENDINGS) and _MISSPELT.search(lower) is not None


@dataclass(slots=True)
class Ignore:
    """The patterns of one version of the ignore list, with a cache of their results by path."""

    content: bytes = b""
    _spec: GitIgnoreSpec | None = None
    _known: dict[str, bool] = field(default_factory=dict)

    def passes_over(self, path: str) -> bool:
        """True for an ignored path below the source; the path of a folder ends in a slash."""
        if self._spec is None:
            return False
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= _CACHE_SIZE:
                self._known.clear()
            known = self._known[path] = self._spec.match_file(path)
        return known


def read_ignore(root: str, before: Ignore) -> Ignore | Fault:
    """The ignore list of this source, or `before` if it did not change; a Fault if it cannot be read completely.

    An unreadable list may ignore requests that would be billed, so the agent then reads no request file.
    """
    found = read_beneath(root, IGNORE_FILE, _LONGEST)
    if found is ReadFailure.MISSING:
        return before if before.content == b"" else Ignore()
    if not isinstance(found, Content):
        message = f"the ignore list cannot be read ({found.value})"
        return Fault(file=IGNORE_FILE, message=message, hint="make it a regular file of at most 64 KiB, or remove it")
    if found.content == before.content:
        return before
    try:
        lines = found.content.decode().splitlines()
    except UnicodeDecodeError:
        return Fault(file=IGNORE_FILE, message="the ignore list is not UTF-8 text", hint="save it as UTF-8")
    for number, line in enumerate(lines, 1):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:
            message = "the line is not a valid pattern of .gitignore"
            return Fault(file=IGNORE_FILE, line=number, message=message, hint="correct or remove the line")
    return Ignore(found.content, GitIgnoreSpec.from_lines(lines))
