"""Checks of a git source: programs, files of keys, the server, the revision that the agent acts on, and the mirror."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from agent.cli.checks import Check, problem, warning
from agent.core.errors import AgentError, UntrustedFile
from agent.core.source_revision import RevisionState
from agent.core.timestamps import format_timestamp
from agent.platform.repository_address import transport
from agent.platform.settings import PREFIX, Settings
from agent.platform.trusted_files import read_trusted
from agent.source.revisions.access import RepositoryAccess
from agent.source.revisions.fetch_errors import FetchError
from agent.source.revisions.git_process import OLDEST, Bounds, Git, search_path
from agent.source.revisions.mirror import Mirror
from agent.source.revisions.signers import CannotVerify, Signers
from agent.store import open_reading, store_exists
from agent.views.phrases import count_of
from agent.views.revisions import failure_sentence, short, troubles

_PATIENCE = 20.0  # seconds for the server's answer
_SECRET = ("source_token_file", "source_ssh_key_file")
_FILES = (
    *_SECRET,
    "source_known_hosts_file",
    "source_allowed_signers_file",
    "source_revoked_signers_file",
    "source_gpg_keyring",
)
_MAY_BE_EMPTY = "source_revoked_signers_file"
_LOW_FREE_BYTES = 50 * 2**20


def checks(settings: Settings, offline: bool) -> Iterator[Check]:
    """Run them. Without SOURCE_URL there is nothing to check."""
    if not settings.source_url:
        return
    usable = True
    for check in _programs(settings):
        usable = usable and not check.hint
        yield check
    readable = True
    for check in _files(settings):
        readable = readable and not check.hint
        yield check
    if usable and readable and settings.source_verify != "off":
        yield from _signers(settings)
    state = _state(settings)
    if offline:
        yield Check(name="git server", message="not asked, because of --offline")
    elif usable:
        yield _server(settings, state)
    yield from _revision(state)
    yield _mirror(settings.source_folder)


def _programs(settings: Settings) -> Iterator[Check]:
    """Git, and the programs that git starts for this repository and its signatures."""
    signed_by_ssh = settings.source_allowed_signers_file is not None
    yield git_version()
    for program, needed, purpose in (
        ("ssh", transport(settings.source_url) == "ssh", "an ssh repository"),
        ("ssh-keygen", signed_by_ssh, "SOURCE_ALLOWED_SIGNERS_FILE"),
        ("gpg", settings.source_gpg_keyring is not None, "SOURCE_GPG_KEYRING"),
    ):
        if needed and shutil.which(program, path=search_path()) is None:
            package = "gpg" if program == "gpg" else "openssh-client"
            yield problem(program, f"the program {program} is missing: {purpose} needs it", f"install {package}")
        elif needed:
            yield Check(name=program, message=f"the program {program} is installed")


def git_version() -> Check:
    """The version of git, which runs here as the agent runs it: a git in a relative folder of PATH is not started."""
    with tempfile.TemporaryDirectory(prefix="assure-agent-") as folder:
        try:
            version = Git(Path(folder)).version(Bounds(seconds=_PATIENCE))
        except FetchError as error:
            return problem("git", error.detail, f"install git {OLDEST} or newer: SOURCE_URL needs it")
    return Check(name="git", message=f"git {version} is installed")


def _files(settings: Settings) -> Iterator[Check]:
    """The files of keys and of the token: this user can read them, and no other user can change them."""
    good = []
    for name in _FILES:
        path: Path | None = getattr(settings, name)
        if path is None:
            continue
        setting = PREFIX + name.upper()
        try:
            content = read_trusted(path, secret=name in _SECRET)
        except UntrustedFile as error:
            yield problem("source files", f"{setting}: {str(error).rstrip('.')}", error.hint)
        except OSError as error:
            hint = "name a file that this user can read"
            yield problem("source files", f"{setting}: {path} cannot be read: {error.strerror}", hint)
        else:
            if content.strip() or name == _MAY_BE_EMPTY:
                good.append(str(path))
            else:
                yield problem("source files", f"{setting}: {path} is empty", "write the token or the keys into it")
    if good:
        message = f"this user can read {', '.join(good)}, and no other user can change them"
        yield Check(name="source files", message=message)


def _signers(settings: Settings) -> Iterator[Check]:
    """The agent can verify signatures with the files of signers, and each line that should allow a key has one."""
    name, allowed = "signers", settings.source_allowed_signers_file
    with tempfile.TemporaryDirectory(prefix="assure-agent-") as folder:
        signers = Signers(allowed, settings.source_revoked_signers_file, settings.source_gpg_keyring, Path(folder))
        try:
            signers.refresh()
        except CannotVerify as error:
            yield problem(name, f"no signature can be checked: {str(error).rstrip('.')}", error.hint)
            return
    if lines := signers.lines_without_key:
        found = f"line {lines[0]} of {allowed} has no public key, so it allows no signer"
        more = f"; {count_of(len(lines) - 1, 'other line')} as well" if lines[1:] else ""
        yield warning(name, found + more, "write the name, the options, the type of the key, and the key")
    else:
        yield Check(name=name, message="the files of signers can be used")


def _server(settings: Settings, state: RevisionState) -> Check:
    """The server names the head of the branch."""
    name = "git server"
    access = replace(RepositoryAccess.of(settings), timeout=min(_PATIENCE, settings.source_timeout))
    with tempfile.TemporaryDirectory(prefix="assure-agent-") as folder:
        mirror = Mirror(Path(folder, "mirror.git"), access)
        try:
            mirror.open()
            head = mirror.remote_head()
        except FetchError as error:
            return problem(name, *failure_sentence(error.failure, error.detail))
    message = f"branch {settings.source_branch} of {settings.source_url} is at {short(head)}"
    if state.acted is not None and state.acted.commit == head:
        message += ", the revision that the agent acts on"
    return Check(name=name, message=message)


def _state(settings: Settings) -> RevisionState:
    """The state in the store. A store that cannot be read has its own check."""
    with suppress(AgentError, OSError):
        if store_exists(settings):
            with open_reading(settings) as reading:
                return reading.revision_state(settings.source_name)
    return RevisionState()


def _revision(state: RevisionState) -> Iterator[Check]:
    """The revision that the agent acts on, and why it acts on no newer one."""
    name = "revision"
    if state.acted is None:
        yield Check(name=name, message="the agent has not acted on a revision yet")
    else:
        since = f" since {format_timestamp(state.acted_at)}" if state.acted_at is not None else ""
        fetched = f"; the server last answered at {format_timestamp(state.fetched_at)}" if state.fetched_at else ""
        yield Check(name=name, message=f"the agent acts on {short(state.acted.commit)}{since}{fetched}")
    for sentence, hint in troubles(state):
        yield warning(name, sentence, hint)


def _mirror(folder: Path) -> Check:
    """The size of the mirror with its exported revisions, and the free space of their file system."""
    name = "mirror"
    try:
        size = sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) if folder.is_dir() else None
        existing = next(one for one in (folder, *folder.absolute().parents) if one.exists())
        disk = os.statvfs(existing)
    except OSError as error:
        hint = f"run as the owner of {folder}, or give that folder to this user"
        return problem(name, f"{error.filename or folder} cannot be read: {error.strerror}", hint)
    free = disk.f_frsize * disk.f_bavail
    left = f"{free / 2**20:,.0f} MiB free"
    if size is None:
        return Check(name=name, message=f"{folder} does not exist yet; the agent creates it; {left}")
    message = f"{folder} has {size / 2**20:,.1f} MiB; {left}"
    if disk.f_blocks and free < max(size, _LOW_FREE_BYTES):
        hint = "free space on that file system: git needs as much again when it tidies up"
        return warning(name, message, hint)
    return Check(name=name, message=message)
