"""The sources of settings: flags, the environment, `.env`, the secrets folder, `assure-agent.yaml`. The first wins.

Each source is read completely or refused. An unknown name is refused as well: it may be a misspelt safety limit.
`.env` and `assure-agent.yaml` of the working directory count only if the agent keeps its state below that directory.
Elsewhere the files may belong to a checkout, and the operator has to name them.
"""

import difflib
import os
import re
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import DOCUMENTATION
from agent.core.errors import UntrustedFile, WrongUse
from agent.platform.git_index import tracking_checkout
from agent.platform.settings_files import DOTENV, SECRETS, YAML_FILE, dotenv, read_text, yaml
from agent.platform.settings_types import printable, unquoted
from agent.platform.store_url import POSTGRES
from agent.platform.trusted_files import read_trusted

PREFIX = "ASSURE_AGENT_"
SETTINGS_PAGE = f"{DOCUMENTATION}/reference/settings.html"
OUTSIDE = ("token_host", "env_file", "config_file")  # never from a file: they could redirect secrets
# Made by the agent with mode 0600, which no checkout gives a file. With KEY_FILE, there is no key, but a mark.
_OWN_FILES = ("agent.key", "agent.mark", "sandbox/agent.key")
# Kubernetes and Docker put the addresses of other services into the environment, also of one named assure-agent.
_INJECTED = re.compile(
    r"ASSURE_AGENT(_[A-Z0-9]+)*_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)"
)
_AGENT_LINE = re.compile(
    rb"(?:^|[\r\n])[^\w=#]*(?:export\s[^\w=#]*)?(?:ASSURE_AGENT_|\w*MAX_?STARTS?_?(?:PER)?_?DAY)", re.IGNORECASE
)
# An operator may write the name without the prefix, as the documentation does.
_START_LIMIT_NAME = re.compile(r"(?:\w*(?:ASSUR|AGENT)\w*_)?MAX_?STARTS?_?(?:PER)?_?DAY")
_SIMILARITY = 0.9  # of a name without the prefix to a setting: then the prefix was probably misspelt


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSetting:
    """A value, its kind of source (`flag`, `environment`, `.env`, `secrets`, `yaml`), and the place in it."""

    value: Any
    origin: str
    where: str


def gather(flags: Mapping[str, Any], names: Collection[str], secrets: Collection[str]) -> dict[str, FoundSetting]:
    """The first value of each setting. `names` are all settings in lower case. `secrets` are never shown.

    Raises WrongUse for a value that cannot be used, and OSError for a file that cannot be opened.
    """
    found = {name: FoundSetting(value=value, origin="flag", where="the command line") for name, value in flags.items()}
    _add(found, _environment(names, secrets))
    state = _state_folder(found)
    _add(found, _env_file(found.get("env_file"), state, names))
    _add(found, _secrets_folder(names))
    _add(found, _config_file(found.get("config_file"), state, names))
    return found


def _state_folder(found: Mapping[str, FoundSetting]) -> Path:
    """The folder of the agent's own files. It must not come from the files whose trust depends on it."""
    url = str(found["state_url"].value).strip() if "state_url" in found else "sqlite:///state/agent.db"
    if url.startswith(POSTGRES):
        return Path(str(found["state_dir"].value).strip() if "state_dir" in found else "state").expanduser()
    return Path(url.removeprefix("sqlite:///")).expanduser().parent


def _add(found: dict[str, FoundSetting], more: Iterable[tuple[str, FoundSetting]]) -> None:
    """Add the settings that no earlier source has. Raises WrongUse if one source has a name twice."""
    added: dict[str, FoundSetting] = {}
    for name, one in more:
        if name in added:
            other = added[name].where
            also = f"also in {other}" if other != one.where else "in capitals and in small letters"
            where = one.where[0].upper() + one.where[1:] if one.origin == "environment" else one.where
            raise WrongUse(f"{where}: {name.upper()} is set twice, {also}.", "remove one of them")
        added[name] = one
    found.update({name: one for name, one in added.items() if name not in found})


def _environment(names: Collection[str], secrets: Collection[str]) -> Iterator[tuple[str, FoundSetting]]:
    for name, value in sorted(os.environ.items()):
        upper = name.upper()
        if not upper.startswith(PREFIX):
            _reject_misspelt("The environment", name, names)
            continue
        short = upper.removeprefix(PREFIX).lower()
        if short not in names:
            if _INJECTED.fullmatch(name):
                continue
            raise _unknown("The environment", printable(name), short, names, PREFIX)
        bare = unquoted(value)
        if bare != value and short in secrets:
            raise WrongUse(
                f"The environment: {name} has quotes around it, as `docker --env-file` keeps them.",
                "remove the quotes; a secret that has quotes of its own goes into a file",
            )
        yield short, FoundSetting(value=bare, origin="environment", where="the environment")


def _reject_misspelt(where: str, name: str, names: Collection[str]) -> None:
    """Refuse a misspelt prefix: every program would ignore the setting, which may be a safety limit."""
    upper = name.upper()
    if PREFIX in upper:
        return  # a longer name is a deliberate choice
    known = [PREFIX + one.upper() for one in names]
    close = difflib.get_close_matches(upper, known, n=1, cutoff=_SIMILARITY) if re.search("ASSUR|AGENT", upper) else []
    if _START_LIMIT_NAME.fullmatch(upper):
        close = [PREFIX + "MAX_STARTS_PER_DAY"]
    if close:
        raise _not_a_setting(where, printable(name), close[0])


def _env_file(named: FoundSetting | None, state: Path, names: Collection[str]) -> Iterator[tuple[str, FoundSetting]]:
    content = _content(named, DOTENV, "--env-file")
    if content is None:
        return
    file, text = content
    if named is None and not _has_agent_setting(text):
        return
    entries = list(dotenv(text, file))
    if named is None:
        _reject_foreign(file, state, "--env-file")
    for entry in entries:
        where = f"{file}:{entry.line}"
        if not entry.name.upper().startswith(PREFIX):
            _reject_misspelt(where, entry.name, names)
        else:
            short = entry.name.upper().removeprefix(PREFIX).lower()
            yield _read_file_setting(short, entry.name, entry.value, where, ".env", names, PREFIX)


def _has_agent_setting(content: bytes) -> bool:
    """False for a `.env` of another program, even if a comment or a value names the agent.

    UTF-16, which is refused later, has a zero byte after each letter.
    """
    return _AGENT_LINE.search(content.replace(b"\0", b"")) is not None


def _config_file(named: FoundSetting | None, state: Path, names: Collection[str]) -> Iterator[tuple[str, FoundSetting]]:
    content = _content(named, YAML_FILE, "--config-file")
    if content is None:
        return
    file, text = content
    entries = list(yaml(text, file))
    if named is None:
        _reject_foreign(file, state, "--config-file")
    for entry in entries:
        yield _read_file_setting(entry.name.lower(), entry.name, entry.value, f"{file}:{entry.line}", "yaml", names, "")


def _secrets_folder(names: Collection[str]) -> Iterator[tuple[str, FoundSetting]]:
    for path in sorted(SECRETS.iterdir()) if os.path.isdir(SECRETS) else ():  # noqa: PTH112 - Path.is_dir may raise
        if path.name.upper().startswith(PREFIX):
            short = path.name.upper().removeprefix(PREFIX).lower()
            value = read_text(read_trusted(path, secret=True), str(path))
            yield _read_file_setting(short, path.name, value, str(path), "secrets", names, PREFIX)


def _read_file_setting(
    short: str, name: str, value: str, where: str, origin: str, names: Collection[str], prefix: str
) -> tuple[str, FoundSetting]:
    if short in OUTSIDE:
        raise WrongUse(
            f"{where}: {short.upper()} is accepted from the environment or a flag only, not from a file.",
            f"remove it from the file, and set {PREFIX}{short.upper()} or --{short.replace('_', '-')}",
        )
    if short not in names:
        raise _unknown(where, printable(name), short, names, prefix)
    return short, FoundSetting(value=value, origin=origin, where=where)


def _content(named: FoundSetting | None, default: str, option: str) -> tuple[str, bytes] | None:
    """The name and the content of the named file, or of the default. None: no file."""
    if named is not None and not str(named.value).strip():
        return None  # `--env-file ''`: none
    path = Path(str(named.value).strip()).expanduser() if named is not None else Path(default)
    if named is None:
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            return None
        except PermissionError:  # of the folder, as with `sudo -u` in a home folder
            return None
        if stat.S_ISDIR(mode):
            return None  # a virtual environment, as some tools call it
    try:
        if named is None and default == DOTENV:
            return str(path), read_trusted(path, own_only=_has_agent_setting)
        return str(path), read_trusted(path)
    except UntrustedFile as error:
        without = f"; or use {option} '' to ignore it" if named is None else ""
        raise UntrustedFile(str(error), error.hint + without) from None
    except OSError as error:
        hint = f"name a file that this user can read with {option}, or '' for none"
        raise WrongUse(f"{path} cannot be read: {error.strerror}.", hint) from None


def _reject_foreign(file: str, state: Path, option: str) -> None:
    """Raise UntrustedFile unless the agent keeps its state below the working directory."""
    here = Path.cwd()
    for folder in (state, Path("state")):
        if (here / folder).resolve().is_relative_to(here) and any(
            _is_own_file(here / folder / name) for name in _OWN_FILES
        ):
            return
    raise UntrustedFile(
        f"{file} was not read: the agent has no state in this folder yet, and the file may belong to a checkout.",
        f"{option} {file} to use it, or {option} '' to ignore it",
    )


def _is_own_file(path: Path) -> bool:
    try:
        status = path.lstat()
    except OSError:
        return False
    private = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and not status.st_mode & 0o077
    return private and tracking_checkout(path) is None


def _unknown(where: str, shown: str, short: str, names: Collection[str], prefix: str) -> WrongUse:
    short = short.removeprefix(PREFIX.lower())
    close = difflib.get_close_matches(short, sorted(names), n=1, cutoff=0.6)
    squeezed = [name for name in sorted(names) if name.replace("_", "") == re.sub(r"[^a-z0-9]", "", short)]
    meant = [*squeezed, *close][:1]
    written = [f"{prefix}{one.upper()}" if prefix else one for one in meant]
    return _not_a_setting(where, shown, written[0] if written else None)


def _not_a_setting(where: str, shown: str, meant: str | None) -> WrongUse:
    question = f" Did you mean {meant}?" if meant else ""
    return WrongUse(
        f"{where}: {shown} is not a setting of this version.{question}",
        f"{'correct its name' if meant else 'remove it'}; {SETTINGS_PAGE} lists all settings",
    )
