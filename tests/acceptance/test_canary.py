"""The installed command at work with LOG_LEVEL=debug, killed and started again: every byte that it wrote or said.

`tests/system/test_canary.py` takes the paths one by one in virtual time. These tests check the streams, commands and
files of the real process.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.installed_command import Office
from tests.support.canaries import OURS, PERSONAL, leaks
from tests.support.timeouts import PATIENT, eventually
from verification.processes import COMMAND

KEY = "Secret-Canary: a claims key of the tests, long enough"
SECRETS = (KEY, "sandbox-secret")
TROUBLE = [
    {"operation": operation, "kind": kind, "rate": 0.05}
    for operation in ("setImages", "startVerification", "getProcess", "getDossier", "getAllProcess", "deleteDossier")
    for kind in ("500", "reset-after", "truncated", "foreign", "html", "revoke-token")
]


@contextlib.contextmanager
def agent(office: Office, logs: Path, kill: bool = False) -> Iterator[Callable[[str], bytes]]:
    """`run`, its output in a file; gives what fetches from its HTTP surface."""
    with (
        logs.open("ab") as log,
        subprocess.Popen([*COMMAND, "run"], env=office.environment, stdout=log, stderr=log) as process,
    ):
        try:
            began = logs.stat().st_size
            eventually(lambda: b'"address"' in logs.read_bytes()[began:])
            urls = re.findall(r'"address": ?"(http://[^"]+)"', logs.read_text())

            def fetch(path: str) -> bytes:
                try:
                    with urllib.request.urlopen(urls[-1] + path, timeout=PATIENT) as answer:
                        return bytes(answer.read())
                except urllib.error.HTTPError as error:
                    return error.read()

            yield fetch
        finally:
            process.kill() if kill else process.terminate()
            process.wait(PATIENT)


def said(office: Office, *arguments: str) -> bytes:
    """Both streams of a command; its exit code may be any."""
    done = subprocess.run([*COMMAND, *arguments], env=office.environment, capture_output=True, timeout=PATIENT)
    assert b"Traceback" not in done.stderr
    return done.stdout + done.stderr


# Commands that may show the names of requests, but neither labels nor redirect URLs in a pipe.
MASKED = (
    ("logs", "canary-person-0"), ("events",), ("events", "-o", "json"), ("describe", "canary-person-0"),
    ("describe", "canary-person-c", "-o", "json"), ("diff",), ("config", "view"), ("version",),
)  # fmt: skip


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.sandbox(delay="100ms-600ms", seed="5")
def test_the_command_writes_and_prints_no_personal_value(office: Office) -> None:
    """[I6] Only `claims` prints personal values, after it has logged the access."""
    office.settings |= {"CLAIMS_KEY": KEY, "LOG_FORMAT": "json", "REQUEST_TIMEOUT": "2s"}
    outcomes = ("accepted", "rejected", "inconclusive", "failed")
    for number, outcome in enumerate(outcomes * 3):
        kept = {"keep": "claims", "claimsTtl": "1h"} if number < 8 else {"keep": "outcome"}
        labels = {"team": "Label-Canary"}
        office.upload(f"canary-person-{number}", outcome, selfie=number % 2 == 0, result=kept, labels=labels)
    capture = {"redirectUrl": "https://shop.example/Redirect-Canary", "uiProfile": "sandbox-outcome-accepted"}
    office.write(
        "canary-person-c", processType="document", capture=capture, result={"keep": "claims", "claimsTtl": "1h"}
    )
    request = urllib.request.Request(office.url + "/sandbox/faults", json.dumps(TROUBLE).encode(), method="POST")
    urllib.request.urlopen(request).close()
    state, logs, copies = office.folder / "state", office.folder / "logs", office.folder / "copies"

    with agent(office, logs, kill=True) as fetch:
        eventually(lambda: len(office.processes()) == 13 and any(p["starts"] for p in office.processes()))
        served = fetch("/metrics")
    shutil.copytree(state, copies / "killed", ignore=shutil.ignore_patterns("*.sock"))
    (copies / "killed.rows").write_bytes(office.rows())
    office.let_lease_end()
    urllib.request.urlopen(urllib.request.Request(office.url + "/sandbox/faults", method="DELETE")).close()
    with agent(office, logs) as fetch:
        eventually(lambda: all(item["state"] in ("done", "held") for item in office.seen().values()))
        served += b"".join(
            map(fetch, ("/metrics", "/healthz", "/readyz", "/api/requests", "/api/requests/canary-person-0"))
        )
        page = fetch("/")  # from this machine, for people: it names requests
        shutil.copytree(state, copies / "running", ignore=shutil.ignore_patterns("keys", "*.sock"))
        (copies / "running.rows").write_bytes(office.rows())
        reported = said(office, "claims", "canary-person-0")
        assert leaks(reported, PERSONAL) == list(PERSONAL)  # so there was something to be found
        private = [
            said(office, *words)
            for words in (("get",), ("explain", "canary-person-0"), ("plan",), ("doctor", "--offline"))
        ]
        masked = [said(office, *words) for words in MASKED]
        public = [said(office, "audit", "export"), said(office, "audit", "verify")]
        public.append(said(office, "audit", "query", "deletions", "-o", "csv").replace(b"canary-person", b"asked-for"))
    for text in [served, logs.read_bytes(), *public]:
        assert leaks(text, (*PERSONAL, *SECRETS, *OURS)) == []
    for text in [page, *private]:  # what names are for
        assert leaks(text, (*PERSONAL, *SECRETS)) == []
    for text in masked:
        assert leaks(text, (*PERSONAL, *SECRETS, *OURS[1:])) == []
    for folder in (state, copies):
        for name, content in written(folder).items():
            assert leaks(content, (*PERSONAL, *SECRETS)) == [], name
            assert leaks(os.fsencode(name), OURS) == []
