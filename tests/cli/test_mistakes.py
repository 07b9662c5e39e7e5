"""Common mistakes in request files and settings. Each message has the cause, the place and the remedy, on one line.

A message about a request file shows the kind of a value or one character of it, because the value may be personal [I6].
"""

import re
import tomllib
from pathlib import Path

import pytest

from agent import DOCUMENTATION
from agent.cli.packaged_files import packaged_files
from agent.core.duration import similar_duration
from agent.platform.settings_types import similar_size
from tests.cli.command_runner import CommandResult, Here
from verification.builders.request_files import write

UPLOAD = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata:
  name: customer-1
  labels: {team: onboarding}
spec:
  processType: document
  upload:
    documentId: 137
    images:
      front: a/front.jpg
"""
CAPTURE = """\
apiVersion: assure-agent/v1
kind: VerificationRequest
metadata: {name: customer-2}
spec:
  processType: documentSelfie
  capture: {redirectUrl: "https://shop.example/verified"}
"""
TYPED = UPLOAD.replace("documentId: 137", "documentType: {country: NLD, type: passport}")
PAGE = "describes the field"
DURATION = "spec.deadline: expected a duration such as 90s, 15m, 24h or 30d"
LABEL = "metadata.labels.team: expected letters, digits, `-`, `_` and `.`, or nothing"
NAME = "metadata.name: expected lower-case letters, digits, `-` and `.` (a DNS-1123 subdomain)"
PATH = "spec.upload.images.front: expected a path below the images folder"

REQUEST_FILES = [
    # (the request, old, new, the message with its place, the remedy)
    (UPLOAD, "  processType", "\tprocessType", "7:1: not valid YAML: found character", "indent with spaces, not tabs"),
    (UPLOAD, "processType:", "procesType:", "7:3: unknown field spec.procesType", "Did you mean `processType`?"),
    (UPLOAD, "document\n", "documentSelfie\n", "11:7: spec.upload.images.selfie: selfie is missing", "add selfie"),
    (UPLOAD, "t.jpg\n", "t.jpg\n      selfie: a/front.jpg\n", "12:15: spec.upload.images.selfie", "remove selfie"),
    (UPLOAD, "a/front.jpg", "a/gone.jpg", "11:14: the front image is not in the images folder", "put the file there"),
    (UPLOAD, "a/front.jpg", "/etc/passwd", f"11:14: {PATH}", "write it like customer-4711/front.jpg"),
    (UPLOAD, "a/front.jpg", "../front.jpg", f"11:14: {PATH}", "write it like customer-4711/front.jpg"),
    (UPLOAD, "a/front.jpg", "a/doc.pdf", "11:14: the front image is neither a JPEG nor", "save it as JPEG or PNG"),
    (UPLOAD, "a/front.jpg", "a/doc.heic", "11:14: the front image is neither a JPEG nor", "save it as JPEG or PNG"),
    (UPLOAD, "a/front.jpg", r"a\front.jpg", "11:14: spec.upload.images.front: expected a path", "rename the file"),
    (UPLOAD, "  upload", "  capture: {redirectUrl: 'https://a.example'}\n  upload", "8:12: spec.capture", "remove one"),
    (CAPTURE, "  capture", "#", "5:3: spec.upload: expected one of upload and capture", "add upload or capture"),
    (CAPTURE, "https:", "http:", "6:26: spec.capture.redirectUrl: expected https", "https://shop.example/verified"),
    (CAPTURE, "https://", "", "6:26: spec.capture.redirectUrl: expected a URL", "https://shop.example/verified"),
    (UPLOAD, "137", "'137'", "9:17: spec.upload.documentId: expected a whole number; found text", "without quotes"),
    (UPLOAD, "137", "13.7", "9:17: spec.upload.documentId: expected a whole number; found a number with", "as 137"),
    (UPLOAD, "137", "0", "9:17: spec.upload.documentId: expected a number greater than 0", "document-types` lists"),
    (UPLOAD, "onboarding", "1", "5:18: metadata.labels.team: expected text; found a number", "put the value in quotes"),
    (UPLOAD, "labels: {team", "annotations: {assure-agent/x", "5:17: metadata.annotations", "use assure-agent/rerun"),
    (UPLOAD, "name: customer-1", "name: a\n  name: b", "5:3: duplicate key metadata.name, first at line 4", "remove"),
    (UPLOAD, UPLOAD, UPLOAD + "---\n" + UPLOAD, "1:1: metadata.name is not unique", "give each request its own name"),
    (UPLOAD, "name: c", "name: &x c", "4:9: anchors (`&`) are not allowed", "remove the anchor"),
    (UPLOAD, "spec:", "spec:\n  result: {keep: claims}", "7:18: spec.result.keep", "set ASSURE_AGENT_CLAIMS_KEY"),
    (UPLOAD, "{team: onboarding}", "[a]", "5:11: metadata.labels: expected `key: value` lines; found a list", "remove"),
    (UPLOAD, "kind: VerificationRequest\n", "", "1:1: kind is missing", "add `kind:`"),
    (UPLOAD, "kind: V", "kind: v", "2:7: kind: expected `VerificationRequest`", "Did you mean `VerificationRequest`?"),
    (UPLOAD, "agent/v1", "agent/v2", "1:13: apiVersion: expected `assure-agent/v1`", "Did you mean `assure-agent/v1`?"),
    (UPLOAD, "customer-1", "Customer-1", f"4:9: {NAME}; found `C`", "write it like customer-4711"),
    (UPLOAD, "customer-1", "c" * 254, f"4:9: {NAME}, at most 253 characters; found 254", "shorten it"),
    (UPLOAD, "onboarding", "a@b.example", f"5:18: {LABEL}; found `@`", "use no other characters"),
    (TYPED, "NLD", "NL", "9:29: spec.upload.documentType.country: expected three capital letters", "write it like NLD"),
    (TYPED, "NLD", "nld", "9:29: spec.upload.documentType.country: expected three capital letters (", "like NLD"),
    (TYPED, "passport", "drivingLicence", "9:40: spec.upload.documentType.type", "Did you mean `driversLicense`?"),
    (UPLOAD, "spec:", "spec:\n  deadline: 30", f"7:13: {DURATION}; found a number", "Did you mean `30s`?"),
    (UPLOAD, "spec:", "spec:\n  deadline: 1 hour", f"7:13: {DURATION}", "Did you mean `1h`?"),
    (UPLOAD, "spec:", "spec:\n  deadline: PT1H", f"7:13: {DURATION}", "Did you mean `1h`?"),
    (UPLOAD, "spec:", "spec:\n  deadline: soon", f"7:13: {DURATION}", "write it like 24h"),
    (UPLOAD, "Type: document", "Type: selfie", "7:16: spec.processType", "Did you mean `documentSelfie`?"),
    (UPLOAD, "processType: document", "processType: video", "7:16: spec.processType: expected `document` or", PAGE),
    (UPLOAD, "spec:", "spec:\n  suspend: yes", "7:12: spec.suspend: expected true or false; found text", "without"),
    (UPLOAD, "spec:", "status: ok\nspec:", "6:1: unknown field status", "the fields here are apiVersion, kind"),
    (UPLOAD, UPLOAD, "", "1:1: the file contains no request", "write a request into it"),
]  # fmt: skip

SETTINGS = [
    # (the setting, its value, the expectation with the value found, the suggestion)
    ("LISTEN", "9464", "expected HOST:PORT, such as 127.0.0.1:9464; found '9464'", ""),
    ("LISTEN", "127.0.0.1:99999", "expected HOST:PORT, such as 127.0.0.1:9464; found '127.0.0.1:99999'", ""),
    ("STATE_URL", "state/agent.db", "expected sqlite:/// and the path of a file", ""),
    ("STATE_URL", "postgres://x/y", "expected postgresql://USER@HOST/DATABASE; its user is missing; found", ""),
    ("BASE_URL", "http://api.signicat.com", "expected https; plain http is allowed on loopback only; found", ""),
    ("BASE_URL", "api.signicat.com", "expected a URL such as https://api.signicat.com; found", ""),
    ("TOKEN_URL", "ftp://x", "expected a URL such as https://api.signicat.com; found 'ftp://x'", ""),
    ("CLAIMS_KEY", "short", "expected 32 characters or more, as of `openssl rand -base64 32`, not 5; set", ""),
    ("API_TOKEN", "x", "expected 16 characters or more, as of `openssl rand -base64 32`, not 1; set", ""),
    ("SINK_SECRET", "whsec_!!", "expected base64 after whsec_, as the receiver shows the secret; set", ""),
    ("POLL_INTERVAL", "0", "expected a duration above 0, such as 10s; found '0'", ""),
    ("POLL_INTERVAL", "5", "expected a duration such as 90s, 15m, 24h or 30d; found '5'", "'5s'"),
    ("POLL_INTERVAL", "5 seconds", "expected a duration such as 90s, 15m, 24h or 30d; found '5 seconds'", "'5s'"),
    ("POLL_INTERVAL", "-5s", "expected a duration that is not negative; found '-5s'", ""),
    ("HOLD_TTL", "1w", "expected a duration such as 90s, 15m, 24h or 30d; found '1w'", "'7d'"),
    ("MAX_IMAGE_BYTES", "10 megabytes", "expected a size such as 10MiB; found '10 megabytes'", "'10MB'"),
    ("MAX_IMAGE_BYTES", "10mb", "expected a size such as 10MiB; found '10mb'", "'10MB'"),
    ("CONCURRENCY", "many", "expected a whole number from 1 to 1000; found 'many'", ""),
    ("CONCURRENCY", "0", "expected a whole number from 1 to 1000; found '0'", ""),
    ("CONCURRENCY", "1.5", "expected a whole number from 1 to 1000; found '1.5'", ""),
    ("RATE_LIMIT", "fast", "expected a number from 0 to 10000; found 'fast'", ""),
    ("RATE_LIMIT", "-1", "expected a number from 0 to 10000; found '-1'", ""),
    ("MAX_STARTS_PER_DAY", "ten", "expected a whole number of at least 0; found 'ten'", ""),
    ("BACKUP_KEEP", "0", "expected a whole number of at least 1; found '0'", ""),
    ("EVENTS_SIGNATURE_ENCODING", "HEX", "expected hex or base64; found 'HEX'", "'hex'"),
    ("EVENTS_SIGNATURE_ENCODING", "base46", "expected hex or base64; found 'base46'", "'base64'"),
    ("EVENTS_SIGNATURE_HEADER", "X Sig", "expected 1 to 64 letters, digits and hyphens; found 'X Sig'", ""),
    ("IMAGES_AFTER_UPLOAD", "remove", "expected keep or delete; found 'remove'", ""),
    ("OTHER_DOCUMENTS", "skip", "expected refuse or ignore; found 'skip'", ""),
    ("LOG_LEVEL", "warn", "expected debug, info, warning or error; found 'warn'", "'warning'"),
    ("LOG_FORMAT", "jsn", "expected auto, json or text; found 'jsn'", "'json'"),
    ("AGENT_ID", "Agent 1", "expected at most 16 small letters and digits; found 'Agent 1'", ""),
    ("SPECS_DIR", " ", "expected a value; leave it out for the default", ""),
    ("SOURCE_OWNER", "nobody-here", "expected users or uids of this system; 'nobody-here' is unknown; found", ""),
]  # fmt: skip


@pytest.fixture
def images(here: Here) -> Path:
    """The working folder, with an image and two files that are none."""
    write(here.folder / "images/a/front.jpg", packaged_files()["images/specimens/passport-front.jpg"].read_bytes())
    write(here.folder / "images/a/doc.pdf", b"%PDF-1.4\n")
    write(here.folder / "images/a/doc.heic", b"\0\0\0\x18ftypheic")
    return here.folder


def reads_well(text: str) -> bool:
    """No doubled full stop, no text of a library, no file that only a checkout has, no plural of one."""
    return not re.search(r"\?\.|\.\.( |$)|Value error|Input should|README|docs/|\b1 \w+s\b", text)


@pytest.mark.parametrize(("request_file", "old", "new", "message", "remedy"), REQUEST_FILES)
def test_a_mistake_in_a_request_file(
    here: Here, images: Path, request_file: str, old: str, new: str, message: str, remedy: str
) -> None:
    assert old in request_file
    write(images / "specs/f.yaml", request_file.replace(old, new, 1))
    said = here("validate", "specs")
    assert said.code == 5
    found = [line for line in said.out.splitlines() if line.startswith(f"specs/f.yaml:{message}")]
    assert len(found) == 1, said.out
    assert remedy in found[0].split(". Try: ")[1]
    assert all(reads_well(line) for line in said.out.splitlines()), said.out
    assert said.out.count("\n") <= 2


def says(said: CommandResult, code: int, *parts: str) -> None:
    said.is_one_clear_error(*parts, code=code)
    assert reads_well(said.err), said.err


@pytest.mark.parametrize(("name", "value", "expected", "meant"), SETTINGS)
@pytest.mark.parametrize("source", ["environment", "file"])
def test_a_mistake_in_a_setting(here: Here, source: str, name: str, value: str, expected: str, meant: str) -> None:
    if source == "environment":
        said = here("get", **{name: value})
    else:
        here.env.pop(name, None)  # the environment has precedence
        write(here.folder / "a.env", f"\nASSURE_AGENT_{name}='{value}'\n")
        said = here("get", "--env-file", "a.env")
    place = "in the environment" if source == "environment" else "in a.env:2"
    says(said, 1, f"ASSURE_AGENT_{name}: {expected}", place, f"{DOCUMENTATION}/reference/settings.html")
    assert ("Did you mean" in said.err) == bool(meant)
    assert f"Did you mean {meant}? Try:" in said.err or not meant


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("MAX_STARTS_PERDAY", "MAX_STARTS_PER_DAY"),
        ("CLIENTID", "CLIENT_ID"),
        ("MAX_START_PER_DAYS", "MAX_STARTS_PER_DAY"),
        ("POLLINTERVAL", "POLL_INTERVAL"),
        ("COLOUR", ""),
    ],
)
def test_an_unknown_setting(here: Here, name: str, meant: str) -> None:
    said = here("get", **{name: "5"})
    says(said, 2, f"The environment: ASSURE_AGENT_{name} is not a setting", f"{DOCUMENTATION}/reference/settings.html")
    assert ("Did you mean" in said.err) == bool(meant)
    assert f"Did you mean ASSURE_AGENT_{meant}? Try: correct its name" in said.err or not meant


def test_settings_that_need_something_else(here: Here) -> None:
    says(here("get", SINK_URLS="https://a.example"), 1, "ASSURE_AGENT_SINK_SECRET: expected a secret", "it is not set")
    says(
        here("get", CLIENT_SECRET="", CLIENT_SECRET_FILE="/none"),
        1,
        "_FILE: /none cannot be read",
        "set in the environment",
    )
    says(here("run", "--once", BACKUP_DIR="/none"), 1, "BACKUP_DIR: expected an existing folder; found '/none'")
    found = here("doctor", "--offline", "-o", "json", BACKUP_DIR="/none").json["checks"]
    assert [one["state"] for one in found if one["check"] == "backups"] == ["problem"]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("30", "30s"), ("2w", "14d"), ("1 Day", "24h"), ("90 mins", "1h30m"), ("pt15m", "15m"), ("0", None),
        ("3 months", None), ("soon", None), ("123456789", None), ("99999d", None),
    ],
)  # fmt: skip
def test_a_similar_duration(text: str, meant: str | None) -> None:
    assert similar_duration(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"), [("10 gb", "10GiB"), ("5kib", "5KiB"), ("7 Kilobytes", "7kB"), ("10", None), ("big", None)]
)
def test_a_similar_size(text: str, meant: str | None) -> None:
    assert similar_size(text) == meant


def test_the_links_lead_to_the_documentation_of_the_package() -> None:
    root = Path(__file__).parents[2]
    urls = tomllib.loads((root / "pyproject.toml").read_text())["project"].get("urls", {})
    assert urls.get("Documentation", DOCUMENTATION) == DOCUMENTATION
    for page in ("settings", "request-file"):
        assert (root / f"docs/reference/{page}.md").exists()
