"""A client of the capture flow, written from the vendor's OpenAPI alone, with nothing but the standard library.

    python capture_client.py BASE_URL CLIENT_ID CLIENT_SECRET begin PROFILE [DOMAIN]
    python capture_client.py BASE_URL CLIENT_ID CLIENT_SECRET finish DOSSIER

`begin` sets the profile (a capture configuration), creates a dossier with user data and starts a capture flow. It
prints the dossier and the link. `finish` waits for the result, copies the front image to the dossier's files, deletes
the dossier and prints the result. A status that is not the declared one ends it with exit code 1.
"""

import base64
import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

NOT_FINAL = ("pending", "processing")


class Client:
    """Assure, as its OpenAPI describes it."""

    def __init__(self, base: str, client_id: str, secret: str) -> None:
        self.base = base
        form = urllib.parse.urlencode({"grant_type": "client_credentials", "scope": "signicat-api"}).encode()
        basic = base64.b64encode(f"{client_id}:{secret}".encode()).decode()
        request = urllib.request.Request(f"{base}/auth/open/connect/token", form, {"Authorization": f"Basic {basic}"})
        with urllib.request.urlopen(request) as answer:
            self.token = json.load(answer)["access_token"]

    def call(self, method: str, path: str, *expected: int, body: object = None) -> Any:
        """The status and the body of the answer, parsed if it is JSON."""
        headers = {"Authorization": f"Bearer {self.token}", "Accept": "application/json"}
        content = None
        if body is not None:
            content = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(f"{self.base}/assure{path}", content, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                status, kind, text = answer.status, answer.headers.get_content_type(), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, kind, text = error.code, error.headers.get_content_type(), error.read()
        if status not in expected:
            sys.exit(f"{method} {path}: {status}, not {expected}")
        return status, json.loads(text) if kind == "application/json" and text else text

    def begin(self, profile: str, domain: str = "") -> Any:
        """Set the profile, create a dossier with user data and return it with the link for the end user."""
        path = f"/capture/configurations/{urllib.parse.quote(profile, safe='')}"
        settings = {"signicatpictureidConfig": {"defaultCountry": "NOR", "allowTakePhoto": ["mobile", "desktop"]}}
        if self.call("GET", path, 200, 404)[0] == 404:
            self.call("POST", path, 201, body=settings)
        self.call("PUT", path, 200, 204, body=settings)
        listed = self.call("GET", "/capture/configurations", 200)[1]
        if profile not in [row["id"] for row in listed]:
            sys.exit("the configuration is not in the list")
        dossier = self.call("POST", "/dossiers", 201, body={"externalReference": None})[1]["dossierId"]
        self.call("POST", f"/dossiers/{dossier}/userdata", 201, body={"userData": {"firstName": "Ada"}})
        self.call("PUT", f"/dossiers/{dossier}/userdata", 204, body={"userData": {"mobile": "+4712345678"}})
        flow = {
            "providers": [{"provider": "signicatpictureid", "processType": "documentSelfie"}],
            "sdk": "capture",
            "redirectUrl": "https://customer.redirect.site.com/",
            "captureParameters": {"uiProfile": profile, "uiLanguage": "en"},
        }
        if domain:
            flow["requestDomain"] = domain
        link = self.call("POST", f"/dossiers/{dossier}/capture", 201, body=flow)[1]["url"]
        return {"dossier": dossier, "link": link}

    def finish(self, dossier: str) -> Any:
        """Wait for the result of the only process, delete the dossier and check that it is gone."""
        for _ in range(600):
            (process,) = self.call("GET", f"/dossiers/{dossier}", 200)[1]["processes"]
            if process["status"] not in NOT_FINAL:
                break
            time.sleep(0.2)
        path = f"/dossiers/{dossier}/processes/{process['processId']}"
        result = self.call("GET", path, 200)[1]
        person = self.call("GET", f"/dossiers/{dossier}/userdata", 200)[1]["userData"]
        self.call("POST", f"/dossiers/{dossier}/files", 201, body={"processId": process["processId"]})
        front = self.call("GET", f"/dossiers/{dossier}/files?depiction=front", 200)[1]
        self.call("DELETE", f"/dossiers/{dossier}", 204)
        for gone in ("", "/userdata", "/files?depiction=front"):
            self.call("GET", f"/dossiers/{dossier}{gone}", 404)
        return {"status": result["status"], "userData": person, "picture": len(front)}


if __name__ == "__main__":
    where, name, password, command, *rest = sys.argv[1:]
    print(json.dumps(getattr(Client(where, name, password), command)(*rest)))
