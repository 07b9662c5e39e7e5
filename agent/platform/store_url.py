"""STATE_URL: the path of a state file, or the place of a PostgreSQL database. Parsing needs no driver."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

from agent.core.errors import did_you_mean
from agent.platform.settings_types import loopback, valid_url_characters

POSTGRES = ("postgresql://", "postgres://")  # how the URL of a database begins
PARAMETERS = ("host", "sslmode", "sslrootcert", "sslcert", "sslkey", "statement_cache_size")
_EXPECTED = "expected postgresql://USER@HOST/DATABASE"
_FILE = "expected sqlite:/// and the path of a file, such as sqlite:///state/agent.db"
_PASSWORD = "a password goes into a file, which STATE_PASSWORD_FILE names"  # noqa: S105 - no password
_MEANT_DATABASE = re.compile(r"\s*(pg|postgres)[a-z0-9+]*:", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseUrl:
    """The parts of `postgresql://USER@HOST[:PORT][,HOST[:PORT]...]/DATABASE[?PARAMETER=VALUE...]`."""

    hosts: tuple[str, ...]  # names, addresses, or the folder of a Unix socket
    ports: tuple[int, ...]  # of each host
    user: str
    database: str
    tls: bool  # the certificate and the host name are checked; False only for a server on this machine
    files: dict[str, str]  # sslrootcert, sslcert, sslkey
    statement_cache_size: int  # prepared statements for each connection; 0 for PgBouncer before 1.21

    @classmethod
    def parse(cls, url: str) -> "DatabaseUrl":
        """Raises ValueError. Its text shows no part of the URL that may be a password."""
        valid_url_characters(url, f"{_EXPECTED}, with other characters as in %20")
        try:
            parts = urlsplit(url)
        except ValueError:
            raise ValueError(f"{_EXPECTED}; its host is invalid") from None
        account, at, places = parts.netloc.rpartition("@")
        user, colon, _ = account.partition(":")
        if colon or parts.fragment or (not at and "@" in url):
            raise ValueError(f"{_EXPECTED}; {_PASSWORD}")
        database = unquote(parts.path.removeprefix("/"))
        if not user or not database:
            raise ValueError(f"{_EXPECTED}; its {'database' if user else 'user'} is missing")
        given = _parameters(parts.query)
        hosts, ports = _places(places)
        if "host" in given:
            hosts, ports = (given["host"],), ports[:1]
        if not all(hosts):
            raise ValueError(f"{_EXPECTED}; its host is missing (?host=FOLDER names the folder of a Unix socket)")
        return cls(
            hosts=hosts,
            ports=ports,
            user=unquote(user),
            database=database,
            tls=_tls(hosts, given),
            files={name: given[name] for name in ("sslrootcert", "sslcert", "sslkey") if name in given},
            statement_cache_size=_number(given.get("statement_cache_size", "100"), "statement_cache_size"),
        )

    @property
    def local(self) -> bool:
        """True if the server is on this machine."""
        return _local(self.hosts)


def store_url(value: str) -> str:
    """The URL of the store: a state file, with `~` expanded, or a PostgreSQL database. Raises ValueError."""
    if value.startswith(POSTGRES):
        DatabaseUrl.parse(value)
        return value
    if _MEANT_DATABASE.match(value):
        raise ValueError(_EXPECTED)
    path = value.removeprefix("sqlite:///")
    if path.startswith("~"):
        path = str(Path(path).expanduser())
    if path == value or path.startswith(":") or "\0" in path or not Path(path).name or path.endswith("/"):
        raise ValueError(_FILE)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises if a folder is not searchable
        raise ValueError(f"{_FILE}; this path is a folder")
    return f"sqlite:///{path}"


def _parameters(query: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for name, value in parse_qsl(query.replace("+", "%2B"), keep_blank_values=True):  # only forms mean a space by +
        if name in ("password", "passfile"):
            raise ValueError(f"{_EXPECTED}; {_PASSWORD}")
        if name not in PARAMETERS:
            known = f"there are {', '.join(PARAMETERS)}"
            raise ValueError(f"it has the unknown parameter {name!r}.{did_you_mean(name, PARAMETERS)} ({known})")
        if name in given:
            raise ValueError(f"it has the parameter {name} twice")
        if not value:
            raise ValueError(f"its parameter {name} has no value")
        given[name] = value
    if "sslkey" in given and "sslcert" not in given:
        raise ValueError("its sslkey needs sslcert: a key is of no use without its certificate")
    return given


def _places(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    hosts, ports = [], []
    for place in text.split(","):
        host, port = place, ""
        if not place.endswith("]") and ":" in place:
            host, _, port = place.rpartition(":")
        hosts.append(unquote(host.strip("[]")))
        ports.append(_number(port, "port") if port else 5432)
    return tuple(hosts), tuple(ports)


def _tls(hosts: tuple[str, ...], given: dict[str, str]) -> bool:
    files = any(name in given for name in ("sslrootcert", "sslcert"))
    mode = given.get("sslmode", "disable" if _local(hosts) and not files else "verify-full")
    if mode == "disable" and _local(hosts):
        return False
    if mode != "verify-full":
        why = "without TLS" if mode == "disable" else "with another one"
        raise ValueError(f"expected sslmode=verify-full: {why}, another server may answer and read the requests")
    return True


def _local(hosts: tuple[str, ...]) -> bool:
    return all(host.startswith("/") or loopback(host) for host in hosts)


def _number(text: str, name: str) -> int:
    low = 1 if name == "port" else 0
    if not (text.isascii() and text.isdecimal()) or len(text) > 5 or not low <= int(text) <= 65535:
        raise ValueError(f"expected a {name} from {low} to 65535")
    return int(text)
