"""An independent client of the vendor's capture flow works against the sandbox, in its own process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.links import page_of
from tests.support.timeouts import PATIENT
from verification.processes import ledger_at, simulated

CLIENT = Path(__file__).with_name("capture_client.py")


def client(url: str, *arguments: str) -> Any:
    command = [sys.executable, "-I", str(CLIENT), url, "sandbox-client", "sandbox-secret", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("domain", ["", "myapp.localhost"])
def test_a_client_with_profile_user_data_and_files_leaves_nothing_behind(domain: str) -> None:
    """[issue 14.7]"""
    with simulated({"interactive": "", "delay": "100ms"}) as url:
        begun = client(url, "begin", "shop", *([domain] if domain else []))
        parts = urlsplit(begun["link"])
        assert (parts.hostname, parts.port) == (domain or "127.0.0.1", urlsplit(url).port)
        assert (parts.path, parts.query) == ("/assure/capture/", "")
        assert parts.fragment.startswith("/artifact=")
        assert ledger_at(url)["holds"] == {begun["dossier"]: ["userData"]}

        page = url + urlsplit(page_of(begun["link"])).path
        with httpx.Client(trust_env=False, timeout=PATIENT) as browser:
            assert 'value="NOR" required checked' in " ".join(browser.get(f"{page}/country").text.split())
            sent = browser.post(page, data={"action": "done", "outcome": "inconclusive"})
        assert sent.headers["location"].startswith("https://customer.redirect.site.com/?dossierId=")

        ended = client(url, "finish", begun["dossier"])
        assert ended["status"] == "inconclusive"
        assert ended["userData"] == {"firstName": "Ada", "mobile": "+4712345678"}
        assert ended["picture"] > 0
        book = ledger_at(url)
        assert (book["holds"], book["missingProfiles"], book["violations"]) == ({}, {}, [])
        assert [row["deletedAt"] is not None for row in book["dossiers"]] == [True]
