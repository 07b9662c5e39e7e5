"""The place where the agent lives: files and their permissions, SQLite, the store, the source, and git."""

import os
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from agent.assure.account import account_of
from agent.cli.checks import Check, problem, warning
from agent.core.errors import AgentError
from agent.core.timestamps import format_optional_timestamp
from agent.platform.endpoint_health import TroubleRows, from_json
from agent.platform.settings import Settings, refuse_renamed
from agent.ports import MetaKey
from agent.source.folder import Folder, Scan
from agent.source.git_last_commit import Gap
from agent.source.git_provenance import GitCheckout
from agent.source.git_repository import Unreadable, find
from agent.source.images import protected
from agent.store.connection import sqlite3
from agent.store.lock import holder
from agent.store.migrations import NAMES
from agent.store.readonly import ReadOnlyStore
from agent.store.replaced_files import replaced
from agent.views.explain import count_of, count_withdrawals, describe_ignored_files, system_error

_MIN_FREE_BYTES, _LOW_FREE_BYTES = 2**20, 50 * 2**20  # bytes
_FIXED_VERSION = (3, 51, 3)  # SQLite: the version that mended a corruption of WAL files
_RECOVERING = {
    "lost": "a new one, because the earlier was lost",
    "older": "an older copy",
    "restored": "a restored one",
}
_OWNER = "run as the owner of {0}, or give that folder and its files to this user (chown -R)"
_AUTHORS_TIMEOUT = 10.0  # seconds to find all authors
_GAPS = {  # what to do about authors that are not known
    Gap.SHALLOW: "fetch the whole history: git fetch --unshallow (git-sync: --depth=0)",
    Gap.PARTIAL: "clone without a filter, or fetch what is missing: git fetch --refetch --no-filter",
    Gap.MISSING: "check the repository: git fsck --connectivity-only",
    Gap.DAMAGED: "check the repository: git fsck",
    Gap.UNREADABLE: "let the agent's user read the checkout and its .git folder (chmod, chown, or a group)",
    Gap.SLOW: "repack the repository (git gc), or keep request files in folders of some hundred",
}
_PERSONAL = {
    "an e-mail address": r"[^@\s]+@[^@\s]+\.[^@\s]+|.+[._-]at[._-].+\.[a-z]{2,}",
    "a date": r".*(?<!\d)(?:\d{4}[-._]\d{1,2}[-._]\d{1,2}|\d{1,2}[-._]\d{1,2}[-._]\d{4}|(?:19|20)\d{6})(?!\d).*",
    "a phone number": r"(?:\+|00?)?\d(?:[-._ ]?\d){8,14}",
}


def checks(settings: Settings) -> Iterator[Check]:
    """All of them."""
    path = settings.state_path
    yield from permissions(path)
    yield writable(path.parent)
    yield sqlite()
    if not path.parent.exists() or os.access(path.parent, os.R_OK | os.X_OK):
        yield from store(path, settings)
    seen = Folder.of(settings, settle=0).scan()
    yield from replaced_files(path)
    yield source(seen, settings.specs_dir)
    yield writers(seen, settings.source_owner)
    if seen.passed_over:
        message, _, hint = describe_ignored_files(seen.passed_over).rstrip(".").partition(". Try: ")
        yield warning("passed over", message, hint)
    yield labels(seen)
    yield provenance(settings.specs_dir, {document.file for document in seen.documents.values()})
    yield tracked(settings.images_dir)
    yield from deletable(settings)


def permissions(path: Path) -> Iterator[Check]:
    """State folder and folder of claims keys 0700; state file and key 0600."""
    for name, file, wanted in (
        ("state folder", path.parent, 0o700),
        ("state file", path, 0o600),
        ("key file", path.with_name("agent.key"), 0o600),
        ("claims keys", path.with_name("keys"), 0o700),
    ):
        try:
            there = file.exists()
        except OSError as error:
            yield problem(name, f"{file} cannot be looked at: {error.strerror}", _OWNER.format(path.parent))
            continue
        if not there:
            when = " once claims are kept" if name == "claims keys" else ""
            yield Check(name=name, message=f"{file} is not there yet; the agent makes it{when}")
            continue
        if name == "state file" and (names := file.stat().st_nlink) > 1:
            yield problem(name, f"{file} has {names} names (hard links)", f"find / -xdev -samefile {file}; keep one")
        else:
            yield _mode(name, file, wanted)


def _mode(name: str, file: Path, wanted: int) -> Check:
    found = file.stat()
    too_much = stat.S_IMODE(found.st_mode) & 0o777 & ~wanted
    message = f"{file} has mode {stat.S_IMODE(found.st_mode):04o}"
    if not too_much:
        return Check(name=name, message=message)
    ours = os.geteuid() in (0, found.st_uid)
    hint = f"chmod {wanted:o} {file}" if ours else f"as the user with uid {found.st_uid}: chmod {wanted:o} {file}"
    if not too_much & 0o007 and _group_of_volume(file if file.is_dir() else file.parent, found.st_gid):
        description = (
            f"{message}: group {found.st_gid}, which is this user's, may use it, as fsGroup of Kubernetes sets it"
        )
        return warning(name, description, f"let no other pod or user have group {found.st_gid}")
    if file.is_dir() and not too_much & 0o022:
        return warning(name, f"{message}: others may look into it", hint)
    return problem(name, f"{message}: others may use it", hint)


def _group_of_volume(folder: Path, group: int) -> bool:
    """True where a group of this user has the folder (setgid): the kubelet sets this at each mount."""
    found = folder.stat()
    setgid = bool(found.st_mode & stat.S_ISGID) and found.st_gid == group
    return setgid and group in {os.getegid(), *os.getgroups()}


def writable(folder: Path) -> Check:
    """The agent makes its files there."""
    name = "state folder, written"
    there = next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)
    if not os.access(there, os.W_OK | os.X_OK):
        return problem(name, f"{there} cannot be written by this user", _OWNER.format(there))
    found = os.statvfs(there)
    if not found.f_blocks:  # a file system that does not say
        return Check(name=name, message="it can be")
    room, full = found.f_frsize * found.f_bavail, bool(found.f_files and not found.f_favail)
    left = "no inode is left" if full else f"{room / 2**20:,.1f} MiB are left"
    hint = f"make room on the file system of {there}, 10 MiB to begin with; or set STATE_URL to another one"
    if full or room < _MIN_FREE_BYTES:
        return problem(name, f"there is no room on its file system: {left}", hint)
    if room < _LOW_FREE_BYTES:
        return warning(name, f"there is little room on its file system: {left}", hint)
    return Check(name=name, message=f"it can be; {left}")


def sqlite(version: tuple[int, ...] | None = None) -> Check:
    """The version in use."""
    version = version or sqlite3.sqlite_version_info
    text = ".".join(map(str, version))
    if tuple(version) >= _FIXED_VERSION:
        return Check(name="sqlite", message=f"{text}, with the fix of the WAL reset")
    return warning(
        "sqlite",
        f"{text} can damage a WAL file when it is reset while it is read; 3.51.3 mended that",
        "install the package pysqlite3 where it exists for this platform, or a newer SQLite",
    )


def store(path: Path, settings: Settings) -> Iterator[Check]:
    """Migrations, account, and who holds it."""
    if not path.exists():
        yield Check(name="store", message=f"{path} is not there yet; the agent makes it")
        return
    try:
        with ReadOnlyStore(path) as reading:
            reading.check_integrity()
            reading.freeze()
            why, _, approved = reading.recovery() or (None, False, False)
            applied, account, circuit = reading.migrations(), reading.account(), reading.recall(MetaKey.CIRCUIT)
            troubles = from_json(reading.recall(MetaKey.ENDPOINTS))
            waiting, since = reading.waiting_withdrawals(), reading.recall_time(MetaKey.PAUSED)
            followed = reading.other_source(settings.source_name)
    except (AgentError, OSError) as error:
        yield _unreadable(path, error)
        return
    if newer := sorted(applied - set(NAMES)):
        message = f"written by a newer version of the agent (migration {newer[0]})"
        yield problem("store", message, "install that version or a later one")
    elif missing := [name for name in NAMES if name not in applied]:
        yield Check(name="store", message=f"{len(missing)} migrations are applied by the next start of the agent")
    else:
        yield Check(name="store", message=f"all {len(NAMES)} migrations are applied")
    if why is not None and not approved:
        hint = "look at what is held with `assure-agent get`, then `assure-agent approve`"
        yield warning("recovery", f"the state file is {_RECOVERING[why]}, and a person has to approve", hint)
    yield from _same_source(settings.source_name, followed)
    ours = account_of(settings)
    if account is None or account == ours or not settings.client_id:
        yield Check(name="account", message=f"the store belongs to {account or 'no account yet'}")
    else:
        hint = "set STATE_URL to a file of its own, or take this one along with `run --rebind`"
        yield warning("account", f"the store belongs to {account}, not to {ours}", hint)
    yield from _running(holder(path), circuit, troubles)
    if since is not None:
        when = f" since {format_optional_timestamp(since)}" if since else ""
        yield warning("pause", f"paused{when}: nothing new is begun", "`assure-agent resume`")
    if waiting:
        hint = "put the files back, or withdraw them with `assure-agent approve`; `assure-agent plan` lists them"
        yield warning("withdrawals", f"{count_withdrawals(waiting)} for approval", hint)


def _running(pid: int | None, circuit: str | None, troubles: TroubleRows) -> Iterator[Check]:
    """The agent that runs on the store, and what keeps it from its work."""
    yield Check(name="agent", message="no agent runs on the store" if pid is None else f"an agent runs (pid {pid})")
    if pid is None:
        return
    if circuit:
        hint = "see its log: it says why, and what helps"
        yield warning("circuit", f"the agent sends nothing but probes just now ({circuit})", hint)
    for name, begun, sentence in troubles:
        hint = "see the runbook, section endpoint-trouble"
        yield warning(
            "endpoint",
            f"calls of the running agent to {name} fail since {format_optional_timestamp(begun)}: {sentence}",
            hint,
        )


def _same_source(source: str, followed: str | None) -> Iterator[Check]:
    try:
        refuse_renamed(source, followed)
    except AgentError as error:
        yield problem("source name", str(error).rstrip("."), error.hint)


def _unreadable(path: Path, error: AgentError | OSError) -> Check:
    if isinstance(error, AgentError):
        return problem("store", str(error).rstrip("."), error.hint)
    return problem("store", f"{error.filename or path} cannot be read: {error.strerror}", _OWNER.format(path.parent))


def source(scan: Scan, path: Path) -> Check:
    """The folder of request files."""
    if scan.error is not None:
        return problem("source", f"{path}: {scan.error.message}", scan.error.hint)
    if scan.faults:
        message = f"{path}: {count_of(scan.files, 'file')}, {count_of(len(scan.faults), 'fault')}"
        return warning("source", message, f"assure-agent validate {path}")
    return Check(
        name="source", message=f"{path}: {count_of(scan.files, 'file')}, {count_of(len(scan.documents), 'request')}"
    )


def writers(scan: Scan, owners: Sequence[str]) -> Check:
    """Whoever may change a request file has people verified."""
    if owners:
        return Check(name="source, writers", message=f"files of others than {','.join(owners)} are refused")
    if not scan.exposed:
        return Check(name="source, writers", message="not everybody may change its files")
    listed = ", ".join(f"{fault.file}: {fault.message}" for fault in scan.exposed[:5])
    more = f", and {len(scan.exposed) - 5} more" if len(scan.exposed) > 5 else ""
    hint = "chmod o-w what everybody may write, replace hard links with copies; SOURCE_OWNER has such files refused"
    return warning("source, writers", f"{listed}{more}", hint)


def labels(scan: Scan) -> Check:
    """Labels are for searching; they are no place for personal data. The values are not repeated here."""
    found = [
        f"{document.file}:{document.line} {key} (looks like {what})"
        for document in scan.documents.values()
        for key, value in document.request.metadata.labels.items()
        if (what := personal(value)) is not None
    ]
    if not found:
        return Check(name="labels", message="none looks personal")
    more = f" and {len(found) - 5} more" if len(found) > 5 else ""
    hint = "take personal data out of labels; a number of your own is enough to find a request"
    return warning("labels", f"some look personal: {', '.join(found[:5])}{more}", hint)


def personal(value: str) -> str | None:
    """What a value looks like, when it looks personal."""
    return next((what for what, pattern in _PERSONAL.items() if re.fullmatch(pattern, value)), None)


def replaced_files(path: Path) -> Iterator[Check]:
    """Files that `restore` kept hold names for as long as they are there."""
    try:
        kept = [(one.name, one.stat().st_mtime) for one in replaced(path)]
    except OSError:
        return  # that it cannot be looked at is told elsewhere
    if kept:
        oldest = format_optional_timestamp(min(at for _, at in kept))
        message = f"`restore` set {len(kept)} state files aside, which hold names, the oldest at {oldest}"
        hint = f"remove what is not needed any more: {', '.join(name for name, _ in kept[:5])}"
        yield warning("set aside", message, f"{hint}, in {path.parent}")


def deletable(settings: Settings) -> Iterator[Check]:
    """With IMAGES_AFTER_UPLOAD=delete the agent has to be able to delete, and to have done it."""
    found = protected(settings.images_dir) if settings.images_after_upload == "delete" else None
    if found is not None:
        hint = "mount it read-write and let this user write to it, or set IMAGES_AFTER_UPLOAD to keep"
        yield problem("images, deleted", f"IMAGES_AFTER_UPLOAD is delete, and this user cannot delete in {found}", hint)
    elif settings.images_after_upload == "delete":
        yield Check(name="images, deleted", message="this user can delete them after their upload")
    try:
        with ReadOnlyStore(settings.state_path) as reading:
            causes = reading.failed_image_deletions()
    except (AgentError, OSError):
        return  # there is no store, or it was said above why it cannot be read
    for cause, count in causes:
        message = f"image files of {count_of(count, 'done request')} could not be deleted: {system_error(cause)}"
        yield problem("images, left", message, "let the agent write to the images folder: it tries again by itself")


def tracked(images: Path) -> Check:
    """Passports do not belong into history."""
    if not images.is_dir():
        return Check(name="images", message=f"{images} is not there")
    try:
        repository = find(images)
        count = repository.tracked() if repository is not None else 0
    except Unreadable as error:
        message = f"cannot tell whether git tracks files below {images}: {error}"
        return warning("images", message, error.hint)
    if repository is None:
        return Check(name="images", message=f"{images} is in no git checkout")
    if count:
        hint = f"git rm --cached the images of persons, and add them to .gitignore: git -C {images} ls-files"
        return warning("images", f"git tracks {count_of(count, 'file')} below {images}", hint)
    return Check(name="images", message=f"git tracks nothing below {images}")


def provenance(specs_dir: Path, files: Collection[str]) -> Check:
    """Can the author of each request file be recorded?"""
    name = "who asked"
    try:
        repository = find(specs_dir)
        head = repository.head() if repository is not None else None
    except Unreadable as error:
        return warning(name, f"commits and authors cannot be recorded: {error}", error.hint)
    if repository is None:
        return Check(name=name, message=f"{specs_dir} is in no git checkout, so no commit and no author is recorded")
    if head is None:
        return Check(name=name, message=f"the checkout {repository.top} has no commit yet, so no author is recorded")
    origins = GitCheckout(specs_dir, _AUTHORS_TIMEOUT).query(files).provenance(files)
    gaps = Counter(origin.gap for origin in origins.values() if origin.gap is not None)
    if gaps:
        listed = ", ".join(f"{count_of(count, 'file')}: not known ({gap})" for gap, count in gaps.most_common())
        return warning(
            name,
            f"authors cannot be recorded for all files of {repository.top}: {listed}",
            _GAPS[gaps.most_common(1)[0][0]],
        )
    if repository.shallow:
        message = f"{repository.top} is a shallow clone: authors from before its first commit are not known"
        return warning(name, message, _GAPS[Gap.SHALLOW])
    return Check(name=name, message=f"authors can be recorded, commit {head[:12].decode()} is checked out")
