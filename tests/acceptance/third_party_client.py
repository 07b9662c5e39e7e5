"""A web application of somebody else, written for Assure's capture flow from the API's description alone.

It knows a base URL, a client, and the secret of its subscription to events. It knows nothing of the agent or of a
simulator, takes the capture link as it comes, and reads only fields that are documented.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FINAL = {"accepted", "rejected", "inconclusive", "canceled", "failed"}


class Application:
    """Sends an end user to the capture page, and receives the result by event or by polling."""

    def __init__(self, base_url: str, client_id: str, client_secret: str, events_secret: str) -> None:
        self._base = base_url
        self._basic = base64.b64encode(f"{client_id}:{client_secret}".encode()).decode()
        self._secret = events_secret.encode()
        self.returned: list[dict[str, str]] = []
        self.events: dict[str, dict[str, Any]] = {}  # by id: the same one may come twice
        self.forged = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._door())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Application":
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def send_to_capture(self, reference: str) -> str:
        """Create a dossier and its capture flow; returns the address for the end user's browser."""
        dossier = self._call("POST", "/assure/dossiers", {"externalReference": reference})
        flow = {
            "providers": [{"provider": "signicatpictureid", "processType": "documentSelfie"}],
            "sdk": "capture",
            "redirectUrl": f"{self.url}/return?session=42",
            "captureParameters": {"uiLanguage": "en", "defaultCountry": "NOR"},
            "eventTags": ["web-application"],
        }
        link: str = self._call("POST", f"/assure/dossiers/{dossier['dossierId']}/capture", flow)["url"]
        return link

    def result(self, dossier_id: str, process_id: str, patience: float = 60) -> dict[str, Any]:
        """The process once it is final, polled every half second."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            process = self._call("GET", f"/assure/dossiers/{dossier_id}/processes/{process_id}")
            if process["status"] in FINAL:
                return process
            time.sleep(0.5)
        raise TimeoutError

    def forget(self, dossier_id: str) -> int:
        """Delete the dossier; returns the status of reading it afterwards."""
        self._call("DELETE", f"/assure/dossiers/{dossier_id}")
        try:
            self._call("GET", f"/assure/dossiers/{dossier_id}")
        except urllib.error.HTTPError as error:
            with error:
                return error.code
        return 200

    def _call(self, method: str, path: str, body: object = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token()}", "Accept": "application/json"}
        if content is not None:
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self._base + path, content, headers, method=method)
        with urllib.request.urlopen(request) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def _token(self) -> str:
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "signicat-api"}).encode()
        headers = {"Authorization": f"Basic {self._basic}", "Content-Type": "application/x-www-form-urlencoded"}
        request = urllib.request.Request(f"{self._base}/auth/open/connect/token", form, headers)
        with urllib.request.urlopen(request) as answer:
            token: str = json.load(answer)["access_token"]
        return token

    def _receive_event(self, signature: str, content: bytes) -> int:
        expected = hmac.new(self._secret, content, hashlib.sha256).hexdigest()
        if not hmac.compare_digest(signature, expected):
            self.forged += 1
            return 401
        event = json.loads(content)
        self.events[event["id"]] = event
        return 200

    def _door(self) -> type[BaseHTTPRequestHandler]:
        application = self

        class Door(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urllib.parse.urlsplit(self.path)
                if parts.path == "/return":
                    application.returned.append(dict(urllib.parse.parse_qsl(parts.query)))
                self._say(200, b"<!doctype html><title>Thanks</title><h1>Thank you</h1>")

            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                self._say(application._receive_event(self.headers.get("X-Signicat-Signature", ""), content))

            def _say(self, status: int, page: bytes = b"") -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                pass

        return Door
