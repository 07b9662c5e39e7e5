"""Real repositories: a bare one, and clones that push to it."""

import os
import subprocess
from pathlib import Path

CLEAN_ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def git(folder: Path, *arguments: str, by: str = "Somebody") -> str:
    """The output of a git command."""
    options = ("-c", f"user.name={by}", "-c", "user.email=somebody@example.test", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *options, *arguments], cwd=folder, env=CLEAN_ENVIRONMENT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def repository(folder: Path) -> Path:
    """A clone of a new bare repository, with nothing in it."""
    folder.mkdir(parents=True, exist_ok=True)
    git(folder, "init", "-q", "--bare", "remote.git")
    git(folder, "clone", "-q", "remote.git", "clone")
    git(folder / "clone", "checkout", "-q", "-b", "main")
    return folder / "clone"


def commit(clone: Path, by: str = "Somebody") -> str:
    """Commit all there is, and push it; the commit."""
    git(clone, "add", "-A")
    git(clone, "commit", "-q", "-m", "a change", by=by)
    git(clone, "push", "-q", "origin", "main")
    return git(clone, "rev-parse", "HEAD")
