"""The choice of the source of requests: the git repository SOURCE_URL, or the folder SPECS_DIR."""

from typing import TYPE_CHECKING

from agent.platform.settings import Settings
from agent.source.folder import SETTLE_SECONDS, Folder
from agent.source.folder_source import FolderSource
from agent.source.git_provenance import GitCheckout

if TYPE_CHECKING:
    from agent.source.revisions.git_source import GitSource


def source_of(settings: Settings, settle: float = SETTLE_SECONDS, checkout: bool = True) -> "FolderSource | GitSource":
    """The source that the settings name. It reads nothing before its first use.

    A file of a folder is read once it has not changed for `settle` seconds; those of a revision are complete. Without
    `checkout`, a folder has no provenance.
    """
    if settings.source_url:
        from agent.source.revisions.git_source import GitSource  # a folder does not need it

        return GitSource.of(settings)
    found = GitCheckout(settings.specs_dir) if checkout else None
    return FolderSource(Folder.of(settings, settle), found)
