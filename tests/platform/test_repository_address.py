"""The address of a git repository: nothing in it is an option, another transport, or a secret."""

import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.platform.repository_address import (
    checked_branch,
    checked_folder,
    checked_repository,
    checked_web_page,
    transport,
)

ACCEPTED = [
    # (the check, the value, the result, or None for the same value)
    (checked_repository, "https://git.example/team/requests.git", None),
    (checked_repository, "https://git.example:8443/team/requests.git/", "https://git.example:8443/team/requests.git"),
    (checked_repository, "https://deploy-bot@git.example/team/requests.git", None),
    (checked_repository, "http://127.0.0.1:3000/team/requests", None),
    (checked_repository, "http://localhost/requests", None),
    (checked_repository, "ssh://git@git.example:2222/team/requests.git", None),
    (checked_repository, "ssh://git.example/team/requests.git", None),
    (checked_repository, "git@git.example:team/requests.git", None),
    (checked_repository, "git@git.example:/srv/requests.git", None),
    (checked_repository, "git@[::1]:requests.git", None),
    (checked_repository, "file:///srv/requests.git", None),
    (checked_repository, "", None),
    (checked_branch, "main", None),
    (checked_branch, "release/1.0", None),
    (checked_branch, "für-uns", None),
    (checked_folder, "", None),
    (checked_folder, ".", ""),
    (checked_folder, "./specs/", "specs"),
    (checked_folder, "a//b c/./d", "a/b c/d"),
    (checked_folder, ".github/.gitignore", None),
    (checked_web_page, "", None),
    (checked_web_page, "https://git.example/team/requests/", "https://git.example/team/requests"),
    (checked_web_page, "https://git.example/c?id={commit}", None),
    (checked_web_page, "http://127.0.0.1:3000/r", None),
]
REFUSED = [
    (checked_repository, "/srv/requests.git"),
    (checked_repository, "../requests"),
    (checked_repository, "requests.git"),
    (checked_repository, "git.example:team/requests.git"),
    (checked_repository, "git://git.example/requests.git"),
    (checked_repository, "ftp://git.example/requests.git"),
    (checked_repository, "HTTPS://git.example/requests.git"),
    (checked_repository, "http://git.example/requests.git"),
    (checked_repository, "ext::sh -c touch% /tmp/x"),
    (checked_repository, "ext::https://git.example/x"),
    (checked_repository, "fd::17/x"),
    (checked_repository, "--upload-pack=touch"),
    (checked_repository, "-oProxyCommand=x@git.example:y"),
    (checked_repository, "git@-oProxyCommand=x:y"),
    (checked_repository, "git@git.example:-x"),
    (checked_repository, "ssh://-oProxyCommand=x/y"),
    (checked_repository, "ssh://-oProxyCommand@git.example/y"),
    (checked_repository, "https://user:secret@git.example/x"),
    (checked_repository, "https://:secret@git.example/x"),
    (checked_repository, "https://@git.example/x"),
    (checked_repository, "https://ghp_0123456789@git.example/x"),
    (checked_repository, "https://GITHUB_PAT_0123@git.example/x"),
    (checked_repository, "https://glpat-0123@git.example/x"),
    (checked_repository, "https://0123456789abcdef0123456789abcdef01234567@git.example/x"),
    (checked_repository, "https://" + "k" * 52 + "@git.example/x"),
    (checked_repository, "glpat-0123@git.example:x"),
    (checked_repository, "https://git.example/x?token=1"),
    (checked_repository, "https://git.example/x?"),
    (checked_repository, "https://git.example/x#main"),
    (checked_repository, "https://git.example"),
    (checked_repository, "https://git.example/"),
    (checked_repository, "https:///x"),
    (checked_repository, "https://git.example:0/x"),
    (checked_repository, "https://git.example/a b"),
    (checked_repository, "https://git.example/a\nb"),
    (checked_repository, "git@git.example:a\\b"),
    (checked_repository, "file://srv/requests.git"),
    (checked_repository, "file:requests.git"),
    (checked_repository, "file:///"),
    (checked_branch, "refs/heads/main"),
    (checked_branch, "-f"),
    (checked_branch, "HEAD"),
    (checked_branch, "@"),
    (checked_branch, "a@{1}"),
    (checked_branch, "a..b"),
    (checked_branch, "a b"),
    (checked_branch, "a/.b"),
    (checked_branch, "a.lock/b"),
    (checked_branch, "a."),
    (checked_branch, "a/"),
    (checked_branch, "+main:other"),
    (checked_folder, "/specs"),
    (checked_folder, "a/../../b"),
    (checked_folder, ".git"),
    (checked_folder, "a/.GIT/hooks"),
    (checked_web_page, "http://git.example/x"),
    (checked_web_page, "https://user:secret@git.example/x"),
    (checked_web_page, "https://git.example/{sha}"),
    (checked_web_page, "javascript:alert(1)"),
]


@pytest.mark.parametrize(("check", "value", "result"), ACCEPTED)
def test_an_address_is_accepted(check: Callable[[str], str], value: str, result: str | None) -> None:
    assert check(value) == (value if result is None else result)
    assert check(check(value)) == check(value)


@pytest.mark.parametrize(("check", "value"), REFUSED)
def test_an_address_is_refused_without_repeating_it(check: Callable[[str], str], value: str) -> None:
    """[I6]"""
    with pytest.raises(ValueError, match=r"^expected ") as refused:
        check(value)
    assert "secret" not in str(refused.value)
    assert "0123" not in str(refused.value)


@given(st.text(st.sampled_from("ab.-/@{~^:?*[\\ \x7f\té") | st.characters(codec="utf-8"), min_size=1, max_size=8))
def test_git_accepts_every_branch_that_is_accepted(name: str) -> None:
    try:
        checked_branch(name)
    except ValueError:
        return
    assert not subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True).returncode


@pytest.mark.parametrize(
    ("url", "name"),
    [("https://h/x", "https"), ("http://localhost/x", "http"), ("ssh://h/x", "ssh"), ("git@h:x", "ssh"),
     ("file:///x", "file"), ("", "")],
)  # fmt: skip
def test_the_transport_of_a_url(url: str, name: str) -> None:
    assert transport(url) == name
