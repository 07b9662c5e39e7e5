"""A Flask application that lets the Assure Agent verify a customer with a hosted capture flow.

    pip install flask
    API_TOKEN=... SINK_SECRET=... SPECS_DIR=specs python app.py

API_TOKEN and SINK_SECRET have the values of ASSURE_AGENT_API_TOKEN and ASSURE_AGENT_SINK_SECRET. The agent sends its
events here with ASSURE_AGENT_SINK_URLS=http://127.0.0.1:8080/events.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from flask import Flask, abort, redirect, request
from werkzeug.wrappers import Response

AGENT_URL = os.environ.get("AGENT_URL", "http://127.0.0.1:9464")
API_TOKEN = os.environ["API_TOKEN"]
SINK_KEY = os.environ["SINK_SECRET"].encode()
SPECS_DIR = Path(os.environ.get("SPECS_DIR", "specs"))
PORT = int(os.environ.get("PORT", "8080"))
PUBLIC_URL = os.environ.get("PUBLIC_URL", f"http://127.0.0.1:{PORT}")
TOLERANCE = 300  # seconds between the timestamp of an event and now

app = Flask(__name__)
outcomes: dict[str, str] = {}  # by name; use your database
handled: set[str] = set()  # ids of events; use your database


@app.post("/verifications")
def begin() -> tuple[dict[str, str], int]:
    """Write a request file. Its name has no personal data, because names are in logs and URLs."""
    name = f"customer-{secrets.token_hex(8)}"
    capture = {"redirectUrl": f"{PUBLIC_URL}/returned/{name}"}
    write_request(name, {"processType": "document", "capture": capture})
    return {"name": name}, 202


def write_request(name: str, spec: dict[str, Any]) -> None:
    """Write to a temporary name, fsync, rename, fsync the folder. JSON is valid YAML."""
    document = {
        "apiVersion": "assure-agent/v1",
        "kind": "VerificationRequest",
        "metadata": {"name": name},
        "spec": spec,
    }
    temporary = SPECS_DIR / f".{name}.tmp"  # in the same folder, and without the ending .yaml
    with temporary.open("x") as file:
        json.dump(document, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(SPECS_DIR / f"{name}.yaml")
    folder = os.open(SPECS_DIR, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@app.get("/verifications/<name>")
def forward(name: str) -> Response | tuple[str, int, dict[str, str]]:
    """Send the end user to the capture page as soon as its link exists. The link is a secret: do not store it."""
    found = read_request(name)
    if found is not None and found["link"] is not None:
        return redirect(found["link"], 303)
    return "Please wait.", 202, {"Refresh": "1"}


def read_request(name: str) -> dict[str, Any] | None:
    """The request as the agent knows it. None until the agent has read the file, and while the agent is down."""
    url, headers = f"{AGENT_URL}/api/requests/{name}", {"Authorization": f"Bearer {API_TOKEN}"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
            return found
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise
    except OSError:
        return None


@app.get("/returned/<name>")
def returned(name: str) -> dict[str, str | None]:
    """The end user is back. Do not trust the query: anybody can send it. Wait for the event `settled`."""
    return {"message": "Thank you", "name": name, "outcome": outcomes.get(name)}


@app.post("/events")
def receive() -> tuple[str, int]:
    """Receive an event of the agent. Handle each id once, and answer within ten seconds."""
    body = request.get_data()
    if not is_signed(body):
        abort(401)
    event = json.loads(body)
    if event["id"] not in handled and event["type"] == "example.assure-agent.settled":
        outcomes[event["data"]["name"]] = event["data"]["outcome"]
    handled.add(event["id"])
    return "", 204


def is_signed(body: bytes) -> bool:
    """Verify a signature of Standard Webhooks. There are two while the key rotates."""
    event, at = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
    if not at.isdecimal() or abs(time.time() - int(at)) > TOLERANCE:
        return False
    digest = hmac.new(SINK_KEY, f"{event}.{at}.".encode() + body, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    signatures = request.headers.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(expected, one) for one in signatures)


if __name__ == "__main__":
    app.run(port=PORT)
