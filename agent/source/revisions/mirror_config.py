"""The configuration of the mirror: what git may do, the address of the repository, and the credentials for it."""

import shlex
from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, urlsplit

from agent.platform.proxy import Proxy
from agent.source.revisions.access import RepositoryAccess

REMOTE = "origin"

_FIXED = {
    "core": {
        "repositoryFormatVersion": "1",
        "bare": "true",
        "hooksPath": "/dev/null",
        "fsmonitor": "false",
        "attributesFile": "/dev/null",
        "excludesFile": "/dev/null",
        "askPass": "/bin/false",
        "logAllRefUpdates": "false",
        "fsync": "all",
        "packedGitWindowSize": "1m",
        "packedGitLimit": "256m",
        "deltaBaseCacheLimit": "64m",
        "bigFileThreshold": "16m",
    },
    "protocol": {"allow": "never"},
    "gc": {"auto": "0"},
    "maintenance": {"auto": "false"},
    "fetch": {"recurseSubmodules": "false", "writeCommitGraph": "false", "unpackLimit": "1"},
    "submodule": {"recurse": "false"},
    "transfer": {"unpackLimit": "1", "bundleURI": "false"},
    "pack": {"threads": "1", "windowMemory": "64m"},
    "http": {"followRedirects": "false", "sslVerify": "true"},
    "credential": {"helper": ""},
}
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
# The shell reads the file itself, so the token is in no process list.
_HELPER = """!f() {{ test "$1" = get || exit 0; IFS="$(printf ' \\t\\r')" read -r token <{file} || test -n "$token"; \
printf 'username=%s\\npassword=%s\\n' {user} "$token"; }}; f"""


def configuration(access: RepositoryAccess, form: str, authorities: Path | None) -> str:
    """The content of the file. `form` is the hash function of the repository, `authorities` a file for https."""
    sections = {
        **_FIXED,
        "core": {**_FIXED["core"], "sshCommand": _ssh(access)},
        "extensions": {"objectFormat": form},
        f'protocol "{access.protocol}"': {"allow": "always"},
        f'remote "{REMOTE}"': {"url": access.url, "tagOpt": "--no-tags"},
    }
    if access.protocol in ("https", "http"):
        if authorities is not None:
            sections["http"] = {**_FIXED["http"], "sslCAInfo": str(authorities.absolute())}
        if access.token_file is not None:
            host = f"{access.protocol}://{urlsplit(access.url).netloc.rpartition('@')[2]}"
            helper = _HELPER.format(file=shlex.quote(str(access.token_file.absolute())), user=shlex.quote(access.user))
            sections[f'credential "{_escaped(host)}"'] = {"helper": helper}
    lines = [
        line
        for section, values in sections.items()
        for line in (f"[{section}]", *(f'\t{name} = "{_escaped(value)}"' for name, value in values.items()))
    ]
    return "\n".join(lines) + "\n"


def authorities(ca_file: bytes) -> bytes:
    """The certificates that the system trusts, followed by those of CA_FILE. Empty: only git knows those of the system.

    Raises OSError.
    """
    import ssl  # imported late: only https needs it, and it is large

    paths = ssl.get_default_verify_paths()
    named = [path for path in (paths.cafile, *_BUNDLES) if path and Path(path).is_file()]
    found = Path(named[0]).read_bytes() if named else _of_folder(paths.capath)
    return found + b"\n" + ca_file if found or ca_file else b""


def proxy_variables(proxy: Proxy | None) -> dict[str, str]:
    """The environment in which git uses the proxy. Other users cannot read it, unlike a process list."""
    if proxy is None:
        return {}
    user, password = _credentials(proxy)
    credentials = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user or password else ""
    return {"https_proxy": proxy.url.replace("://", f"://{credentials}", 1)}


def proxy_secrets(proxy: Proxy | None) -> list[str]:
    """The texts that no error may contain."""
    if proxy is None:
        return []
    _, password = _credentials(proxy)
    return [proxy.authorization.removeprefix("Basic "), password, quote(password, safe="")]


def _credentials(proxy: Proxy) -> tuple[str, str]:
    pair = b64decode(proxy.authorization.removeprefix("Basic ")).decode("utf-8", "replace")
    user, _, password = pair.partition(":")
    return user, password


def _of_folder(folder: str | None) -> bytes:
    files: Iterable[Path] = sorted(Path(folder).iterdir()) if folder else ()
    return b"\n".join(path.read_bytes() for path in files if path.is_file())


def _ssh(access: RepositoryAccess) -> str:
    options = [
        "BatchMode=yes",
        "IdentitiesOnly=yes",
        "IdentityAgent=none",
        "PreferredAuthentications=publickey",
        "StrictHostKeyChecking=yes",
        "UpdateHostKeys=no",
        f"UserKnownHostsFile={_ssh_path(access.known_hosts_file)}",
        "GlobalKnownHostsFile=/dev/null",
        "ForwardAgent=no",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "ConnectTimeout=20",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        "LogLevel=ERROR",
        f"IdentityFile={_ssh_path(access.ssh_key_file)}",
    ]
    return shlex.join(["ssh", "-F", "/dev/null", *(part for option in options for part in ("-o", option))])


def _ssh_path(path: Path | None) -> str:
    """A path as a value of ssh: one word, without variables."""
    return '"' + str((path or Path("/dev/null")).absolute()).replace("%", "%%") + '"'


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
