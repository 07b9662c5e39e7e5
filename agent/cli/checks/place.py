"""The place where the agent lives: files and their permissions, SQLite, the store, the source, and git."""

import os
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from agent.account import CIRCUIT
from agent.cli.checks import Check, problem, warning
from agent.cli.output import moment
from agent.control import PAUSED, paused_since
from agent.core.errors import AgentError
from agent.sentences import withdrawals
from agent.settings import Settings, refuse_renamed
from agent.source.folder import Folder, Scan
from agent.store.connection import holder, sqlite3
from agent.store.migrations import NAMES
from agent.store.reading import Reading

_MENDED = (3, 51, 3)  # SQLite: the version that mended a corruption of WAL files
_RECOVERING = {
    "lost": "a new one, because the earlier was lost",
    "older": "an older copy",
    "restored": "a restored one",
}
_OWNER = "run as the owner of {0}, or give that folder and its files to this user (chown -R)"
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
    seen = Folder(settings.specs_dir, settle=0).scan()
    yield source(seen, settings.specs_dir)
    yield labels(seen)
    yield tracked(settings.images_dir)


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
        mode = stat.S_IMODE(file.stat().st_mode)
        too_much = mode & ~wanted
        message = f"{file} has mode {mode:04o}"
        if name == "state file" and (names := file.stat().st_nlink) > 1:
            yield problem(name, f"{file} has {names} names (hard links)", f"find / -xdev -samefile {file}; keep one")
        elif not too_much:
            yield Check(name=name, message=message)
        elif file.is_dir() and not too_much & 0o022:
            yield warning(name, f"{message}: others may look into it", f"chmod {wanted:o} {file}")
        else:
            yield problem(name, f"{message}: others may use it", f"chmod {wanted:o} {file}")


def writable(folder: Path) -> Check:
    """The agent makes its files there."""
    if not folder.exists() or os.access(folder, os.W_OK | os.X_OK):
        return Check(name="state folder, written", message="it can be")
    return problem("state folder, written", f"{folder} cannot be written by this user", _OWNER.format(folder))


def sqlite(version: tuple[int, ...] | None = None) -> Check:
    """The version in use."""
    version = version or sqlite3.sqlite_version_info
    text = ".".join(map(str, version))
    if tuple(version) >= _MENDED:
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
        with Reading(path) as reading:
            reading.look_through()
            reading.freeze()
            why, _, approved = reading.recovery() or (None, False, False)
            applied, account, circuit = reading.migrations(), reading.account(), reading.recall(CIRCUIT)
            waiting, since = reading.waiting_withdrawals(), paused_since(reading.recall(PAUSED))
            followed = reading.other_source(settings.source_name)
    except (AgentError, OSError) as error:
        yield _unread(path, error)
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
    ours = f"{settings.client_id} at {settings.base_url}"
    if account is None or account == ours or not settings.client_id:
        yield Check(name="account", message=f"the store belongs to {account or 'no account yet'}")
    else:
        hint = "set STATE_URL to a file of its own, or take this one along with `run --rebind`"
        yield warning("account", f"the store belongs to {account}, not to {ours}", hint)
    pid = holder(path)
    yield Check(name="agent", message="no agent runs on the store" if pid is None else f"an agent runs (pid {pid})")
    if pid is not None and circuit:
        hint = "see its log: it says why, and what helps"
        yield warning("circuit", f"the agent sends nothing but probes just now ({circuit})", hint)
    if since is not None:
        when = f" since {moment(since)}" if since else ""
        yield warning("pause", f"paused{when}: nothing new is begun", "`assure-agent resume`")
    if waiting:
        hint = "put the files back, or withdraw them with `assure-agent approve`; `assure-agent plan` lists them"
        yield warning("withdrawals", f"{withdrawals(waiting)} for a person's word", hint)


def _same_source(source: str, followed: str | None) -> Iterator[Check]:
    try:
        refuse_renamed(source, followed)
    except AgentError as error:
        yield problem("source name", str(error).rstrip("."), error.hint)


def _unread(path: Path, error: AgentError | OSError) -> Check:
    if isinstance(error, AgentError):
        return problem("store", str(error).rstrip("."), error.hint)
    return problem("store", f"{error.filename or path} cannot be read: {error.strerror}", _OWNER.format(path.parent))


def source(seen: Scan, path: Path) -> Check:
    """The folder of request files."""
    if seen.error is not None:
        return problem("source", f"{path}: {seen.error.message}", seen.error.hint)
    if seen.faults:
        message = f"{path}: {seen.files} files, {len(seen.faults)} faults"
        return warning("source", message, f"assure-agent validate {path}")
    return Check(name="source", message=f"{path}: {seen.files} files, {len(seen.documents)} requests")


def labels(seen: Scan) -> Check:
    """Labels are for searching; they are no place for personal data. The values are not repeated here."""
    found = [
        f"{document.file}:{document.line} {key} (looks like {what})"
        for document in seen.documents.values()
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


def tracked(images: Path) -> Check:
    """Passports do not belong into history."""
    if not images.is_dir():
        return Check(name="images", message=f"{images} is not there")
    command = ["git", "-C", str(images), "ls-files", "-z", "--", "."]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=10)  # noqa: S603 - no shell, our words
    except (OSError, subprocess.TimeoutExpired):
        return Check(name="images", message="git cannot be asked")
    if done.returncode:
        return Check(name="images", message=f"{images} is in no git repository")
    count = len([name for name in done.stdout.split(b"\0") if name])
    if count:
        hint = f"git rm --cached what is of a person, and add it to .gitignore: git -C {images} ls-files"
        return warning("images", f"git tracks {count} files below {images}", hint)
    return Check(name="images", message=f"git tracks nothing below {images}")
