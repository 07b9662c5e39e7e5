"""Which paths of the source are request files, which are passed over, and which only look like a mistake.

A request file ends in `.yaml` or `.yml`, in any case. `.assureignore` at the top of the source lists what is passed
over without a word, in the format of `.gitignore`. A name such as `customer.yaml.txt` is passed over as well, and told.
"""

import re
from dataclasses import dataclass, field

from pathspec import GitIgnoreSpec

from agent.source.diagnostics import Fault
from agent.source.safe_read import Content, Why, read_beneath

IGNORE_FILE = ".assureignore"

_ENDINGS = (".yaml", ".yml")
_MISSPELT = re.compile(r"\.ya?ml|\.(?:yam|yamll|ymal|yalm|jaml)$")
_LONGEST = 64 * 1024  # bytes of the list
_REMEMBERED = 200_000  # paths


def is_request_file(name: str) -> bool:
    """True for a name that ends as a request file does."""
    return name.lower().endswith(_ENDINGS)


def is_near_miss(name: str) -> bool:
    """True for a name that was probably meant to be a request file's, such as `a.yaml.txt`, `a.yaml~` or `a.yam`."""
    lower = name.lower()
    return not lower.endswith(_ENDINGS) and _MISSPELT.search(lower) is not None


@dataclass(slots=True)
class Ignore:
    """The patterns of one version of the list; remembers what they said of each path."""

    content: bytes = b""
    _spec: GitIgnoreSpec | None = None
    _known: dict[str, bool] = field(default_factory=dict)

    def passes_over(self, path: str) -> bool:
        """True for a path below the source that the list names; a folder's path ends in a slash."""
        if self._spec is None:
            return False
        known = self._known.get(path)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[path] = self._spec.match_file(path)
        return known


def read_ignore(root: str, before: Ignore) -> Ignore | Fault:
    """The list in this source, or `before` where it did not change; a Fault where it is there and cannot be read whole.

    What cannot be read may pass over requests that would be billed, so nothing of the source counts then.
    """
    found = read_beneath(root, IGNORE_FILE, _LONGEST)
    if found is Why.MISSING:
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
            message = "expected a pattern as in .gitignore"
            return Fault(file=IGNORE_FILE, line=number, message=message, hint="correct or remove the line")
    return Ignore(found.content, GitIgnoreSpec.from_lines(lines))
