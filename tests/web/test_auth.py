"""The status page without the token (issue 13.4): only on this machine, under its names, with a one-time link."""

import http.client
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from agent.web.sessions import LINK_SECONDS
from tests.support.timeouts import PATIENT
from tests.web.live_server import BEARER, Served, served, some

NAMES_OF_OTHERS = [
    "agent.example",
    "localhost:80@evil.com",
    "evil.com@localhost:80",
    "localhost@evil.com",
    "[::1].evil.com",
    "[::1]evil.com",
    "[::1]:80@evil.com",
    "[::1",
    "::1",
    "[127.0.0.1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[::]",
    "0.0.0.0",
    "0",
    "127.1",
    "127.0.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "127.0.0.01",
    "127.0.0.256",
    "127.0.0.1.",
    "127.0.0.1.evil.com",
    "127.0.0.1.nip.io",
    "128.0.0.1",
    "10.0.0.1",
    "localhost.",
    "localhost.evil.com",
    "evil.localhost",
    "localhost.localdomain",
    "localhost/evil.com",
    "localhost\\evil.com",
    "localhost#",
    "localhost?",
    "localhost,evil.com",
    "localhost evil.com",
    "local%68ost",
    "localhost:",
    "localhost:0",
    "localhost:65536",
    "localhost:999999",
    "localhost:http",
    "localhost:80:80",
    "localhost:-1",
    "localhost:+80",
    "127.0.0.1:80 ",
    "",
]
OUR_NAMES = ["localhost", "LocalHost:80", "localhost:9464", "127.0.0.1", "127.8.9.1:1", "[::1]", "[::1]:65535"]
OF_A_PROXY = [
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Real-IP",
    "Via",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Envoy-External-Address",
    "X-Original-Host",
]


@pytest.fixture(scope="module", params=["", "a-token-of-a-test"])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("access"), some()[:4], token=request.param) as found:
        yield found


def browser(site: Served) -> httpx.Client:
    return httpx.Client(base_url=site.url, trust_env=False, timeout=PATIENT, verify=False)


def cookie_of(site: Served) -> dict[str, str]:
    """The cookie header of a new session."""
    with browser(site) as client:
        client.get(site.link())
        return {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items())}


def raw(site: Served, request: bytes) -> bytes:
    """The answer to these bytes."""
    place = urlsplit(site.url)
    with socket.create_connection((place.hostname, place.port or 0), timeout=PATIENT) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection)
        response.begin()
        return str(response.status).encode() + b" " + response.read()


def sees(answer: bytes) -> bool:
    return answer.startswith(b"200") and b"customer-1" in answer


def test_without_a_session_the_page_is_not_served_even_on_this_machine(site: Served) -> None:
    """A proxy without a header connects from this machine, and under a name of it."""
    for path in ("/", "/?q=customer", "/?state=done", "/refused", f"/requests/{site.uids['customer-1']}"):
        answer = site.get(path)
        assert answer.status_code in (401, 403)
        assert "customer-1" not in answer.text
        assert "assure-agent page" in answer.text


def test_a_link_begins_a_session_and_leads_to_the_page_without_its_code(site: Served) -> None:
    with browser(site) as client:
        first = client.get(site.link())
        assert first.status_code == 303
        assert first.headers["location"] == "./"
        assert first.headers["cache-control"] == "no-store"
        assert first.headers["referrer-policy"] == "no-referrer"
        cookie = first.headers["set-cookie"]
        assert {"HttpOnly", "Path=/", "SameSite=strict"} <= set(cookie.split("; "))
        assert re.match(rf"assure-agent-{urlsplit(site.url).port}-", cookie)
        for path in ("/", "/?q=customer", f"/requests/{site.uids['customer-1']}"):
            assert "customer-1" in client.get(path).text
        assert client.get("/api/requests").status_code in (401, 404), "the API takes the token only"
        assert client.post("/").status_code == 405


def test_a_link_works_once(site: Served) -> None:
    link = site.link()
    with browser(site) as client, browser(site) as thief:
        assert client.head(link).status_code == 303, "a preview uses nothing up"
        assert client.get(link).status_code == 303
        answer = thief.get(link)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers
        assert "assure-agent page" in answer.text
        assert thief.get("/").status_code in (401, 403)
        assert client.get(link).status_code == 303, "who has a session goes on to the page"


@pytest.mark.parametrize("code", ["", "?code=", "?code=x", "?code=%ff%00", "?code=" + "a" * 5000, "?other=1"])
def test_an_unknown_code_begins_no_session(site: Served, code: str) -> None:
    answer = site.get(f"/login{code}")
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


def test_links_and_sessions_expire(site: Served) -> None:
    old, late = site.link(), site.link()
    session = cookie_of(site)
    assert site.get("/", session).status_code == 200
    site.clock += LINK_SECONDS - 1
    assert site.get(old).status_code == 303
    site.clock += 1
    assert site.get(late).status_code == 403
    assert site.get("/", session).status_code == 200
    site.clock += 12 * 3600
    assert site.get("/", session).status_code in (401, 403)


def test_links_and_sessions_are_bounded_and_the_oldest_ends(site: Served) -> None:
    links = [site.link() for _ in range(17)]
    assert site.get(links[0]).status_code == 403
    assert site.get(links[1]).status_code == 303
    first = cookie_of(site)
    last = [cookie_of(site) for _ in range(64)][-1]
    assert site.get("/", first).status_code in (401, 403)
    assert site.get("/", last).status_code == 200


@pytest.mark.parametrize("name", NAMES_OF_OTHERS)
def test_a_foreign_host_name_gets_nothing_and_uses_no_link(site: Served, name: str) -> None:
    """DNS rebinding, and names that a lenient parser takes for this machine."""
    session = cookie_of(site)["Cookie"]
    link = urlsplit(site.link())
    for path in ("/", f"{link.path}?{link.query}"):
        answer = raw(site, f"GET {path} HTTP/1.1\r\nHost: {name}\r\nCookie: {session}\r\n\r\n".encode())
        # white space around a header's value is no part of it
        assert name.strip() in ("127.0.0.1:80",) or answer[:3] in (b"400", b"401", b"403"), answer[:80]
    if name.strip() == name:
        assert site.get(f"{link.path}?{link.query}").status_code == 303, "the link is still good"


@pytest.mark.parametrize("name", OUR_NAMES)
def test_a_host_name_of_this_machine_gets_the_page_in_a_session(site: Served, name: str) -> None:
    session = cookie_of(site)
    assert site.get("/", {"Host": name} | session).status_code == 200
    assert site.get("/", {"Host": name}).status_code in (401, 403)


@pytest.mark.parametrize("header", OF_A_PROXY)
def test_through_a_proxy_only_the_token_counts(site: Served, header: str) -> None:
    session = cookie_of(site)
    link = site.link()
    for path in ("/", link):
        assert site.get(path, session | {header: "127.0.0.1"}).status_code in (401, 403)
    assert site.get(link).status_code == 303


@pytest.mark.parametrize(
    ("line", "hosts"),
    [
        ("GET / HTTP/1.0", []),
        ("GET / HTTP/1.1", []),
        ("GET / HTTP/1.1", ["localhost", "localhost"]),
        ("GET / HTTP/1.1", ["localhost", "evil.com"]),
        ("GET / HTTP/1.1", ["evil.com", "localhost"]),
        ("GET http://localhost/ HTTP/1.1", ["evil.com"]),
        ("GET http://localhost/ HTTP/1.0", []),
    ],
)
def test_exactly_one_host_header_is_needed(site: Served, line: str, hosts: list[str]) -> None:
    session = cookie_of(site)["Cookie"]
    lines = [line, *(f"Host: {host}" for host in hosts), f"Cookie: {session}", "Connection: close"]
    assert not sees(raw(site, ("\r\n".join(lines) + "\r\n\r\n").encode()))


def test_old_http_with_a_host_is_served(site: Served) -> None:
    session = cookie_of(site)["Cookie"]
    assert sees(raw(site, f"GET / HTTP/1.0\r\nHost: localhost\r\nCookie: {session}\r\n\r\n".encode()))


def test_two_agents_on_one_machine_keep_their_sessions_apart(tmp_path: Path) -> None:
    """Cookies ignore ports, and two containers may have the same one."""
    with served(tmp_path / "a", some()[:2], token="") as one, served(tmp_path / "b", some()[:2], token="") as other:
        with httpx.Client(trust_env=False, timeout=PATIENT) as client:
            for site in (one, other):
                client.get(site.link())
            assert len({cookie.name for cookie in client.cookies.jar}) == 2
            assert client.get(one.url).status_code == client.get(other.url).status_code == 200
        assert other.get("/", cookie_of(one)).status_code == 403


def test_a_set_token_is_required_and_an_unset_token_is_not_mentioned(tmp_path: Path) -> None:
    with served(tmp_path, some()[:1]) as site:
        answer = site.get("/")
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Basic")
        assert site.get("/", BEARER).status_code == 200
