"""Check the address of a git repository: its URL, branch, folder and web page.

No part of it may be an option of git or ssh, or name another transport. It contains no secret: `config view` and lists
of processes show it.
"""

import re
from urllib.parse import SplitResult

from agent.platform.settings_types import checked_url, loopback, split_url, valid_url_characters

_EXAMPLE = (
    "expected a URL such as https://git.example/team/requests.git, ssh://HOST/PATH, git@HOST:PATH or file:///PATH"
)
_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*"
_SCP = re.compile(rf"(?P<user>{_USER})@(?P<host>[^:/@\[\]]+|\[[0-9A-Fa-f:.]+\]):(?P<path>[^:].*)")
_TOKEN = re.compile(  # of GitHub, GitLab, Bitbucket and Azure; or a long random text
    r"(gh[a-z]_|github_pat_|gl[a-z]{2,5}-|ATB|ATC).*|[0-9a-f]{20,}|.{40,}", re.IGNORECASE
)
# The rules of `git check-ref-format`, of which each component of a name obeys the second.
_BRANCH_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|^[-/]|[/.]$|^@$|^HEAD$")
_COMPONENT_FORBIDDEN = re.compile(r"\..*|.*\.lock")


def transport(url: str) -> str:
    """The transport of a checked URL: https, http, ssh, file, or an empty text for an empty URL."""
    scheme, separator, _ = url.partition("://")
    return scheme if separator else "ssh" if url else ""


def checked_repository(value: str) -> str:
    """The URL without a slash at its end. Raises ValueError."""
    if not value:
        return value
    if "://" not in value:
        return _checked_scp(value)
    valid_url_characters(value, _EXAMPLE)
    parts = split_url(value, _EXAMPLE)
    if parts.scheme not in ("https", "http", "ssh", "file") or not value.startswith(f"{parts.scheme}://"):
        raise ValueError(_EXAMPLE)
    if parts.query or parts.fragment or "?" in value or "#" in value:
        raise ValueError("expected the URL of a repository, without `?` and `#`")
    _check_user(parts)
    if parts.scheme == "file":
        if parts.netloc or not parts.path.strip("/"):
            raise ValueError("expected file:// and an absolute path, such as file:///srv/requests.git")
    elif not parts.hostname or not parts.path.strip("/"):
        raise ValueError(_EXAMPLE)
    if parts.scheme == "http" and not loopback(parts.hostname or ""):
        raise ValueError("expected https or ssh; plain http is allowed on loopback only")
    return value.rstrip("/")


def _checked_scp(value: str) -> str:
    """The short form of an ssh URL."""
    match = _SCP.fullmatch(value)
    if match is None or match["path"].startswith("-"):
        raise ValueError(_EXAMPLE)
    valid_url_characters(match["path"], _EXAMPLE)
    split_url(f"ssh://{match['host']}/", _EXAMPLE)
    if _TOKEN.fullmatch(match["user"]):
        raise ValueError(_no_secret("ssh"))
    return value.rstrip("/")


def _check_user(parts: SplitResult) -> None:
    """Refuse a password, a token, and a user name that is an option."""
    if parts.username is None:
        return
    if parts.password is not None or _TOKEN.fullmatch(parts.username):
        raise ValueError(_no_secret(parts.scheme))
    if re.fullmatch(_USER, parts.username) is None:
        raise ValueError("expected a user name of letters, digits, `.`, `_` and `-` before the `@`, or none")


def _no_secret(scheme: str) -> str:
    where = "the private key goes into SOURCE_SSH_KEY_FILE"
    if scheme != "ssh":
        where = "the token goes into the file of SOURCE_TOKEN_FILE, and only a plain user name may precede the `@`"
    return f"expected a URL without a password or token; {where}"


def checked_branch(value: str) -> str:
    """The name of a branch, by the rules of `git check-ref-format`. Raises ValueError."""
    if value.startswith("refs/"):
        raise ValueError("expected the name of a branch without refs/heads/, such as main")
    if _BRANCH_FORBIDDEN.search(value) or any(map(_COMPONENT_FORBIDDEN.fullmatch, value.split("/"))):
        raise ValueError("expected the name of a branch as git allows it, such as main or release/1.0")
    return value


def checked_folder(value: str) -> str:
    """The path of a folder in a repository, without `./` and slashes at its ends. Raises ValueError."""
    parts = [part for part in value.split("/") if part not in ("", ".")]
    if value.startswith("/") or ".." in parts or any(part.lower() == ".git" for part in parts):
        raise ValueError("expected a path below the top folder of the repository, such as specs, without `..` and .git")
    return "/".join(parts)


def checked_web_page(value: str) -> str:
    """The URL of a web page, which may contain `{commit}`. Raises ValueError."""
    if value:
        checked_url(
            value.replace("{commit}", "commit"), "https://git.example/team/requests/commit/{commit}", query=True
        )
    return value.rstrip("/")
