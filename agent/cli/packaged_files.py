"""The files of the project that `init` and `assets` write: examples, dashboards, rules, runbook, deployment.

A wheel contains them in the folder `files`. A checkout has no such folder, so that its own files are taken, as
pyproject.toml lists them for the wheel.
"""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import agent

PACKAGE = Path(agent.__file__).parent


def packaged_files(package: Path = PACKAGE) -> dict[str, Path]:
    """Each file by its path in the repository, such as `specs/passport.yaml`, in the order of the paths."""
    base = package / "files"
    found = sorted(base.rglob("*")) if base.is_dir() else sorted(_of_checkout(base := package.parent))
    return {path.relative_to(base).as_posix(): path for path in found if path.is_file()}


def _of_checkout(root: Path) -> Iterator[Path]:
    project = tomllib.loads((root / "pyproject.toml").read_text())
    for source in project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]:
        yield from (root / source).rglob("*") if (root / source).is_dir() else [root / source]
