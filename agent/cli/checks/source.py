"""Checks of the source: readable files, their writers, personal data in labels, and the authors in git."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

from agent.cli.checks import Check, problem, warning
from agent.source.folder import Scan
from agent.source.git_last_commit import Gap
from agent.source.git_provenance import GitCheckout
from agent.source.git_repository import Unreadable, find
from agent.views.phrases import count_of

_AUTHORS_TIMEOUT = 10.0  # seconds to find the authors of all files
_REMEDIES = {  # for authors that git cannot name
    Gap.SHALLOW: "fetch the whole history: git fetch --unshallow, or --depth=0 of git-sync",
    Gap.PARTIAL: "clone without a filter, or fetch the missing objects: git fetch --refetch --no-filter",
    Gap.MISSING: "check the repository: git fsck --connectivity-only",
    Gap.DAMAGED: "check the repository: git fsck",
    Gap.UNREADABLE: "let the agent's user read the checkout and its .git folder (chmod, chown, or a group)",
    Gap.SLOW: "repack the repository (git gc), or keep at most some hundred request files in one folder",
}
_PERSONAL = {
    "an e-mail address": r"[^@\s]+@[^@\s]+\.[^@\s]+|.+[._-]at[._-].+\.[a-z]{2,}",
    "a date": r".*(?<!\d)(?:\d{4}[-._]\d{1,2}[-._]\d{1,2}|\d{1,2}[-._]\d{1,2}[-._]\d{4}|(?:19|20)\d{6})(?!\d).*",
    "a phone number": r"(?:\+|00?)?\d(?:[-._ ]?\d){8,14}",
}


def source(scan: Scan, path: Path) -> Check:
    """The folder of request files."""
    if scan.error is not None:
        return problem("source", f"{path}: {scan.error.message}", scan.error.hint)
    files = count_of(scan.files, "file")
    if scan.faults:
        return warning(
            "source", f"{path}: {files}, {count_of(len(scan.faults), 'fault')}", f"assure-agent validate {path}"
        )
    return Check(name="source", message=f"{path}: {files}, {count_of(len(scan.documents), 'request')}")


def replicas(folder: Path | None) -> Check:
    """How several replicas on one database share the source. `folder` is SPECS_DIR; None with SOURCE_URL."""
    name = "source, replicas"
    if folder is None:
        message = "each replica fetches the repository by itself, and acts on no revision that is behind the last one"
        return Check(name=name, message=message)
    message = f"{folder} is a folder, so several replicas need one shared volume for it, or SOURCE_URL"
    return Check(name=name, message=message)


def writers(scan: Scan, owners: Sequence[str]) -> Check:
    """The users who can change request files, and thereby request verifications."""
    if owners:
        message = f"the agent refuses files of users other than {','.join(owners)}"
        return Check(name="source, writers", message=message)
    if not scan.exposed:
        return Check(name="source, writers", message="no file can be changed by every user")
    listed = ", ".join(f"{fault.file}: {fault.message}" for fault in scan.exposed[:5])
    more = f", and {len(scan.exposed) - 5} more" if len(scan.exposed) > 5 else ""
    hint = (
        "remove the write permission of other users (chmod o-w), and replace hard links with copies; "
        "with SOURCE_OWNER, the agent refuses such files"
    )
    return warning("source, writers", f"{listed}{more}", hint)


def labels(scan: Scan) -> Check:
    """Labels with values that may be personal data. The check does not repeat the values."""
    found = [
        f"{document.file}:{document.line} {key} ({what}?)"
        for document in scan.documents.values()
        for key, value in document.request.metadata.labels.items()
        if (what := personal_data_in(value)) is not None
    ]
    if not found:
        return Check(name="labels", message="no label seems to contain personal data")
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    hint = "remove personal data from labels; a customer number is enough to find a request"
    return warning("labels", f"some labels seem to contain personal data: {', '.join(found[:5])}{more}", hint)


def personal_data_in(value: str) -> str | None:
    """The kind of personal data that a value seems to be, or None."""
    return next((what for what, pattern in _PERSONAL.items() if re.fullmatch(pattern, value)), None)


def provenance(specs_dir: Path, files: Collection[str]) -> Check:
    """The authors that git names for the request files."""
    name = "authors"
    try:
        repository = find(specs_dir)
        head = repository.head() if repository is not None else None
    except Unreadable as error:
        return warning(name, f"the agent cannot record commits and authors: {error}", error.hint)
    if repository is None:
        message = f"{specs_dir} is not in a git checkout, so the agent records no commits and no authors"
        return Check(name=name, message=message)
    if head is None:
        return Check(name=name, message=f"the checkout {repository.top} has no commit yet, so it names no authors")
    origins = GitCheckout(specs_dir, _AUTHORS_TIMEOUT).query(files).provenance(files)
    gaps = Counter(origin.gap for origin in origins.values() if origin.gap is not None)
    if gaps:
        listed = ", ".join(f"{count_of(count, 'file')}: unknown ({gap})" for gap, count in gaps.most_common())
        message = f"the agent cannot record the authors of all files of {repository.top}: {listed}"
        return warning(name, message, _REMEDIES[gaps.most_common(1)[0][0]])
    if repository.shallow:
        message = f"{repository.top} is a shallow clone, which has no authors from before its first commit"
        return warning(name, message, _REMEDIES[Gap.SHALLOW])
    return Check(name=name, message=f"the agent can record authors; commit {head[:12].decode()} is checked out")
