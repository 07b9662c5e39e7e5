"""Checks of the images: their deletion, and images that git tracks."""

from collections.abc import Iterator
from pathlib import Path

from agent.cli.checks import Check, problem, warning
from agent.core.errors import AgentError
from agent.platform.settings import Settings
from agent.source.git_repository import Unreadable, find
from agent.source.images import protected
from agent.store import open_reading
from agent.views.phrases import count_of, system_error


def deletable(settings: Settings) -> Iterator[Check]:
    """With IMAGES_AFTER_UPLOAD=delete, this user can delete images."""
    found = protected(settings.images_dir) if settings.images_after_upload == "delete" else None
    if found is not None:
        hint = "mount it read-write and let this user write to it, or set IMAGES_AFTER_UPLOAD to keep"
        yield problem("images, deleted", f"IMAGES_AFTER_UPLOAD is delete, and this user cannot delete in {found}", hint)
    elif settings.images_after_upload == "delete":
        yield Check(name="images, deleted", message="this user can delete images after their upload")


def left(settings: Settings) -> Iterator[Check]:
    """No earlier deletion failed, as the store says."""
    try:
        with open_reading(settings) as reading:
            causes = reading.failed_image_deletions()
    except (AgentError, OSError):
        return  # without a store there is nothing to check; the check of the store reports an error
    for cause, count in causes:
        message = f"the agent could not delete images of {count_of(count, 'done request')}: {system_error(cause)}"
        yield problem("images, left", message, "let the agent's user write to the images folder; the agent tries again")


def tracked(images: Path) -> Check:
    """Git tracks no images: the history of a repository is copied and never erased."""
    if not images.is_dir():
        return Check(name="images", message=f"{images} does not exist")
    try:
        repository = find(images)
        count = repository.tracked() if repository is not None else 0
    except Unreadable as error:
        return warning("images", f"the files that git tracks below {images} are unknown: {error}", error.hint)
    if repository is None:
        return Check(name="images", message=f"{images} is not in a git checkout")
    if count:
        hint = f"git rm --cached the images of persons, and add them to .gitignore: git -C {images} ls-files"
        return warning("images", f"git tracks {count_of(count, 'file')} below {images}", hint)
    return Check(name="images", message=f"git tracks no files below {images}")
