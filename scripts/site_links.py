"""Hooks of mkdocs: they extend the navigation and rewrite links to files outside of docs/.

Pages of commands and decisions join the navigation. The site contains docs/ only, so a link to another file of the
repository becomes the path of that file. A link to a missing file fails a strict build.
"""

import logging
import os
import re
from pathlib import Path
from typing import Any

_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((\.\./[^)\s#]+)(#[^)\s]*)?\)")
_log = logging.getLogger("mkdocs.hooks.site_links")


def on_config(config: Any) -> Any:
    """Add the generated pages of commands, and the decisions, to the navigation."""
    docs = Path(config.docs_dir)
    for entry in config.nav:
        if "Decisions" in entry:
            entry["Decisions"] = _pages(docs, "decisions")
        if "Reference" in entry:
            commands = next(one["Commands"] for one in entry["Reference"] if "Commands" in one)
            commands[:] = _pages(docs, "reference/cli")
    return config


def _pages(docs: Path, folder: str) -> list[Any]:
    pages = sorted(path.relative_to(docs).as_posix() for path in (docs / folder).glob("*.md"))
    pages.sort(key=lambda page: not page.endswith("index.md"))
    return pages


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Replace links that lead out of docs/."""
    docs = Path(config.docs_dir)
    folder = (docs / page.file.src_uri).parent

    def plain(match: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / match[2]))
        if target.is_relative_to(docs):
            return match[0]
        if not target.exists():
            _log.warning("%s links to %s, which does not exist", page.file.src_uri, match[2])
        path = target.relative_to(docs.parent).as_posix()
        return match[1] if match[1].strip("`") in (path, target.name) else f"{match[1]} (`{path}`)"

    return _LINK.sub(plain, markdown)
