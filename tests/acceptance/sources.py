"""The ways in which request files reach the agent: a folder, a checkout that is pulled, a fetched repository."""

from pathlib import Path
from typing import Protocol

from tests.support.git import git


class Source(Protocol):
    """A source of requests, as the authors of the files see it. `specs`: the folder that they write to."""

    specs: Path
    settings: dict[str, str]

    def publish(self, message: str = "Change requests") -> None:
        """Hand the files of the folder to the agent."""


class Folder:
    """A folder that the agent watches. Its files are published as soon as they are written."""

    def __init__(self, folder: Path) -> None:
        self.specs = folder / "specs"
        self.specs.mkdir(exist_ok=True)
        self.settings: dict[str, str] = {}

    def publish(self, message: str = "Change requests") -> None:
        """Do nothing."""


class Repository:
    """A bare repository, which the agent fetches, and the clone of an author, the desk."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.desk = folder / "bare.git", folder / "desk"
        self.specs = self.desk / "specs"
        git(folder, "init", "-q", "--bare", "-b", "main", str(self.bare))
        git(self.bare, "config", "uploadpack.allowFilter", "true")
        git(folder, "clone", "-q", str(self.bare), str(self.desk))
        git(self.desk, "checkout", "-q", "-b", "main")
        self.specs.mkdir()
        (self.specs / ".gitignore").write_text("*.tmp\n")  # the folder exists in the first commit
        (self.desk / "README").write_text("requests\n")
        self.settings = {"SOURCE_URL": f"file://{self.bare}", "SOURCE_PATH": "specs", "SOURCE_INTERVAL": "1s"}
        self.publish("Begin")

    def publish(self, message: str = "Change requests") -> None:
        """Commit and push what changed."""
        self.specs.mkdir(exist_ok=True)  # git removes an empty folder
        git(self.desk, "add", "-A")
        if git(self.desk, "status", "--porcelain"):
            git(self.desk, "commit", "-q", "-m", message)
            self.push()

    def push(self, *options: str) -> None:
        """Push the commits of the desk."""
        git(self.desk, "push", "-q", *options, "origin", "main")

    def commit(self, *options: str) -> None:
        """Commit the changes of the desk without a push."""
        git(self.desk, "add", "-A")
        git(self.desk, "commit", "-q", "-m", "Change requests", *options)

    def replace_head(self, commit: str) -> None:
        """Let the branch of the bare repository be this commit, which it contains. No git command runs."""
        (self.bare / "refs/heads/main").write_text(commit + "\n")

    def head(self) -> str:
        """The commit of the desk."""
        return git(self.desk, "rev-parse", "HEAD")


class Checkout(Repository):
    """The same, with a clone that the agent watches as a folder."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        super().__init__(folder)
        git(folder, "clone", "-q", "-b", "main", str(self.bare), str(self.clone))
        self.settings = {"SPECS_DIR": str(self.clone / "specs"), "SCAN_INTERVAL": "300ms"}

    def push(self, *options: str) -> None:
        """Push, and pull into the clone."""
        super().push(*options)
        if self.clone.exists():
            git(self.clone, "pull", "-q")
