"""STATE_URL is checked completely before anything connects, and no error shows a part that may be a password."""

import re
import subprocess
import sys

import pytest

from agent.platform.store_url import DatabaseUrl, store_url


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("postgresql://me:secret@host/db", "a password goes into a file"),
        ("postgresql://me:@host/db", "a password goes into a file"),
        ("postgresql://me:se/cret@host/db", "a password goes into a file"),
        ("postgresql://me:se?cret@host/db", "a password goes into a file"),
        ("postgresql://me:se#cret@host/db", "a password goes into a file"),
        ("postgresql://me:se@cret@host/db", "a password goes into a file"),
        ("postgresql://me@host/db?password=secret", "a password goes into a file"),
        ("postgresql://host/db", "its user is missing"),
        ("postgresql://@host/db", "its user is missing"),
        ("postgresql://me@host", "its database is missing"),
        ("postgresql://me@host/", "its database is missing"),
        ("postgresql://me@/db", "its host is missing"),
        ("postgresql://me@one,,two/db", "its host is missing"),
        ("postgresql://me@[::1/db", "its host is invalid"),
        ("postgresql://me@host:secret/db", "expected a port from 1 to 65535"),
        ("postgresql://me@host:70000/db", "expected a port from 1 to 65535"),
        ("postgresql://me@host:0/db", "expected a port from 1 to 65535"),
        ("postgresql://me@host/db?sslmode=require", "expected sslmode=verify-full"),
        ("postgresql://me@host/db?sslmode=disable", "expected sslmode=verify-full: without TLS"),
        ("postgresql://me@localhost,host/db?sslmode=disable", "expected sslmode=verify-full: without TLS"),
        ("postgresql://me@host/db?sslrootcerts=x", "Did you mean 'sslrootcert'?"),
        ("postgresql://me@host/db?sslrootcert=", "its parameter sslrootcert has no value"),
        ("postgresql://me@host/db?sslmode=verify-full&sslmode=disable", "it has the parameter sslmode twice"),
        ("postgresql://me@host/db?sslkey=secret", "its sslkey needs sslcert"),
        ("postgresql://me@host/db?statement_cache_size=-1", "expected a statement_cache_size from 0 to 65535"),
        ("postgresql://me@host/d b", "invalid character U+0020"),
        ("postgresql+asyncpg://me@host/db", "expected postgresql://USER@HOST/DATABASE"),
        ("PostgreSQL://me:secret@host/db", "expected postgresql://USER@HOST/DATABASE"),
    ],
)
def test_a_wrong_url_is_refused(url: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        store_url(url)
    assert "secret" not in str(caught.value)
    assert "cret@" not in str(caught.value)


def test_a_url_names_servers() -> None:
    named = DatabaseUrl.parse("postgresql://a%40b@one,two:6432,[::1]:7000/db%20x?statement_cache_size=0")
    assert (named.hosts, named.ports) == (("one", "two", "::1"), (5432, 6432, 7000))
    assert (named.user, named.database, named.statement_cache_size) == ("a@b", "db x", 0)
    assert (named.tls, named.local) == (True, False)


@pytest.mark.parametrize(
    ("url", "tls"),
    [
        ("postgres://me@localhost/db", False),
        ("postgresql://me@127.0.0.1:6000/db", False),
        ("postgresql://me@/db?host=/run/postgresql", False),
        ("postgresql://me@[::1]/db?sslmode=verify-full", True),
        ("postgresql://me@localhost/db?sslrootcert=ca.pem", True),
        ("postgresql://me@db.example/db", True),
    ],
)
def test_only_a_server_on_this_machine_goes_without_tls(url: str, tls: bool) -> None:
    assert DatabaseUrl.parse(url).tls is tls


def test_a_folder_may_contain_a_plus_sign_and_a_space() -> None:
    named = DatabaseUrl.parse("postgresql://me@:6000/db?host=/run/c%2B%20+x")
    assert (named.hosts, named.ports) == (("/run/c+ +x",), (6000,))


def test_no_driver_is_needed() -> None:
    program = (
        "import sys; sys.modules['asyncpg'] = None; from agent.platform.settings import load_settings; "
        "print(load_settings(state_url='postgresql://me@localhost/db').store_name)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert said.stdout == "database postgresql://me@localhost/db\n"
