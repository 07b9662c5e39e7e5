"""The text that people read: documents, and in the code docstrings, comments, messages and templates."""

from pathlib import Path

from prose.code import python
from prose.markup import Reader, markdown, marked, sql, starred, template
from prose.passage import VISIBLE, Passage

__all__ = ["ROOT", "VISIBLE", "Passage", "files", "passages"]

ROOT = Path(__file__).resolve().parents[2]
CODE = ("agent", "verification", "grafana", "scripts", "bench")
DOCUMENTS = ("*.md", "docs/**/*.md", "specs/**/*.md", "state/**/*.md", "grafana/**/*.md", "deploy/**/*.md")
OTHERS = ("Makefile", "pyproject.toml", "scripts/setup*", "specs/*.yaml", "deploy/**/*", "state/queries/*.sql")
READERS: dict[str, Reader] = {
    ".py": python, ".html": template, ".sql": sql, ".md": markdown, ".css": starred, ".js": starred,
    ".toml": marked("#"), ".yaml": marked("#"), ".yml": marked("#"), ".service": marked("#"), ".conf": marked("#"),
    ".env": marked("#"), "": marked("#"),
}  # fmt: skip


def files(root: Path = ROOT, only: list[str] | None = None) -> list[Path]:
    """The files with prose below `root`, or below the paths in `only`, sorted."""
    if only:
        bases = [(root / base).resolve() for base in only]
        if missing := [base for base in bases if not base.exists()]:
            raise FileNotFoundError(str(missing[0]))
        found = {path for base in bases for path in (base.rglob("*") if base.is_dir() else [base])}
    else:
        found = {path for folder in CODE for path in (root / folder).rglob("*")}
        found |= {path for pattern in (*DOCUMENTS, *OTHERS) for path in root.glob(pattern)}
    return sorted(path for path in found if _has_prose(path, root))


def _has_prose(path: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(root).parts)
    return path.is_file() and not hidden and path.suffix in READERS and path.name != "LICENSE"


def passages(path: Path, root: Path = ROOT) -> list[Passage]:
    """All passages of one file, sorted by line."""
    return sorted(READERS[path.suffix](str(path.relative_to(root)), path.read_text()), key=lambda one: one.line)
