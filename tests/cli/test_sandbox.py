"""`assure-agent sandbox`: the effect of its options."""

import json
import urllib.request

import pytest

from agent.core.errors import SettingsError
from agent.sandbox.server import _listener
from agent.web.server import bind_listener
from tests.cli.command_runner import Here
from verification.processes import simulated


def test_an_unknown_host_is_reported_with_a_hint_about_the_host(here: Here) -> None:
    here("sandbox", "--host", "nope.invalid", "--port", "0").is_one_clear_error("nope.invalid", "--host 127.0.0.1")
    with pytest.raises(SettingsError) as refused:
        bind_listener("nope.invalid", 0, "LISTEN")
    assert "an address of this machine" in refused.value.hint


def test_of_two_processes_that_begin_at_once_only_one_has_the_port() -> None:
    """Another process could bind a port that is bound without `listen`. Its agent would have no server."""
    first = bind_listener("127.0.0.1", 0, "LISTEN")
    port = first.getsockname()[1]
    with pytest.raises(SettingsError):
        bind_listener("127.0.0.1", port, "LISTEN")
    with pytest.raises(OSError, match="in use"):
        _listener("127.0.0.1", port)
    first.close()
    second = _listener("127.0.0.1", port)
    with pytest.raises(OSError, match="in use"):
        _listener("127.0.0.1", port)
    second.close()


def test_the_events_options_create_a_subscription() -> None:
    flags = {
        "events-url": "http://127.0.0.1:1/events",
        "events-secret": "a-secret",
        "events-header": "X-Signature",
        "events-encoding": "base64",
        "events-prefix": "sha256=",
        "events-lifetime": "2m",
    }
    with simulated(flags) as url, urllib.request.urlopen(f"{url}/sandbox/events") as answer:
        subscription = json.load(answer)
    expected = {"header": "X-Signature", "encoding": "base64", "prefix": "sha256=", "lifetime": 120.0}
    assert subscription.items() >= expected.items()
    assert "a-secret" not in json.dumps(subscription)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--events-url", "shop.example"], "--events-url"),
        (["--events-url", "http://x/", "--events-encoding", "rot13"], "--events-encoding"),
        (["--events-url", "http://x/", "--events-lifetime", "soon"], "--events-lifetime"),
        (["--outcomes", "canceled=1"], "--outcomes"),
        (["--outcomes", "accepted=0"], "--outcomes"),
        (["--delay", "3s-1s"], "--delay"),
    ],
    ids=["url without scheme", "encoding", "lifetime", "unknown outcome", "no weight", "reversed range"],
)
def test_an_invalid_option_is_named(here: Here, flags: list[str], words: str) -> None:
    said = here("sandbox", *flags)
    assert said.code == 2
    assert words in said.err
    assert "Traceback" not in said.err
