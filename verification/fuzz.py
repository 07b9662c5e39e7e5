"""Malformed bytes for every reader of Assure's bodies, for the classifier, and for the loader of request files.

Half of the inputs are noise. The others are valid inputs with a change, which get deeper. A reader may only return its
value or raise ValueError. The classifier may only return one of its four answers. The loader may only return documents
or faults, each with its place and a hint. No result may contain personal data of an input.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from time import perf_counter
from typing import Any

from agent.assure import response_parsers
from agent.assure.token import read_token
from agent.core.answer import Busy, Done, Operation, Refused, Trouble, Unknown
from agent.core.classify import HttpReply, Reader, classify, http_date
from agent.source.loader import LoadedFile, load
from verification.builders.request_files import capture_spec, request_file
from verification.fuzz_replies import run_replies
from verification.mutations import mutated
from verification.parallel import run_parallel
from verification.report import Report

_NOW = 1_800_000_000.0
_CANARY = "Wilhelmina Canary-Vantongeren"  # in the free text of many inputs, and forbidden in errors
_ID = "0f7cb8d2-6f4e-4f0c-b7ce-2a3d1a9c4e11"

_PROCESS = {"processId": _ID, "status": "accepted", "provider": "signicatpictureid", "processType": "document"}
_READERS: dict[str, tuple[Operation, Reader[Any], Any]] = {
    "created dossier": (Operation.CREATE_DOSSIER, response_parsers.created_dossier("aa-x-1-1"), {"dossierId": _ID}),
    "created process": (Operation.CREATE_PROCESS, response_parsers.created_process, _PROCESS | {"documentPages": 2}),
    "capture link": (Operation.START_CAPTURE, response_parsers.capture_link, {"url": "https://capture.example/secret"}),
    "started": (Operation.START_VERIFICATION, response_parsers.started_process(_ID), _PROCESS),
    "process": (
        Operation.READ_PROCESS,
        response_parsers.process(_ID),
        _PROCESS
        | {
            "statusReasons": [{"type": "a", "category": "b", "subCategory": "c", "message": _CANARY}],
            "failReason": {"type": "upload_failed", "message": _CANARY},
            "finalResult": {"firstName": _CANARY, "similarityScore": "high"},
            "providerSpecific": {"document": {"securityChecks": {"nonExpired": {"passed": True, "name": _CANARY}}}},
        },
    ),
    "dossier": (
        Operation.READ_DOSSIER,
        response_parsers.dossier(_ID),
        {"dossierId": _ID, "externalReference": "aa-x-1-1", "processes": [_PROCESS, _PROCESS]},
    ),
    "dossiers": (
        Operation.LIST_DOSSIERS,
        response_parsers.dossiers,
        [{"dossierId": _ID, "createdAt": "2026-01-01T00:00:00Z"}],
    ),
    "processes": (
        Operation.LIST_PROCESSES,
        response_parsers.process_page,
        {"processes": [_PROCESS | {"dossier": {"dossierId": _ID}}], "totalResults": 1},
    ),
    "document types": (
        Operation.LIST_DOCUMENT_TYPES,
        response_parsers.document_types,
        [{"id": 137, "country": "NLD", "type": "passport", "name": "Passport"}],
    ),
    "image": (Operation.READ_IMAGE, response_parsers.image, {}),
    "nothing": (Operation.DELETE_DOSSIER, response_parsers.empty_body, {}),
    "token": (Operation.TOKEN, read_token, {"access_token": "abc", "expires_in": 600, "token_type": "Bearer"}),
}
_TOKENS: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2, 137, 1.5, 1e308, 2**63, -(2**64), 10**30, "", " ", "all", "..", ".", "/", "\0"),
    *("accepted", "pending", "ACCEPTED", _ID, _CANARY, "é\u202e\ud83d\ude00", "a" * 5000, [], {}, [[]], {"": {}}),
)
_TOKEN_RICH = ("document types", "image")  # they hold public words, and bytes that are compared and dropped
_REFERENCE = re.compile("reference='[^']*'")  # compared with the agent's references, and dropped
_STATUSES = (*[200] * 4, *[201] * 2, 204, 301, 400, 401, 403, 404, 408, 409, 418, 425, 429, 500, 502, 503, 999)
_TIMES = ("0", "-5", "1e9", "9" * 400, "Wed, 21 Oct 2026 07:28:00 GMT", "Wed, 99 Foo 0000", "\x00", "", "nan", _CANARY)
_GOOD_FILES = (
    request_file("a", capture_spec("accepted", deadline="1h")).encode(),
    b"""apiVersion: assure-agent/v1
kind: VerificationRequest
metadata:
  name: customer-4711
  labels: {team: onboarding}
  annotations: {assure-agent/rerun: "2026-11-23a"}
spec:
  processType: documentSelfie
  upload:
    documentType: {country: NLD, type: passport}
    images: {front: a/front.jpg, back: a/back.jpg, selfie: a/selfie.jpg}
    readBack: true
  deadline: 24h
  retention: 0s
  result: {keep: outcome}
  suspend: false
---
apiVersion: assure-agent/v1
""",
)
_PIECES = (
    *(b"\n", b"  ", b"\t", b": ", b"- ", b"---\n", b"...\n", b"&a ", b"*a", b"<<: *a\n", b"!!python/object:os.system "),
    *(b"!", b"%TAG ! tag:x,2000:\n", b"%YAML 1.2\n", b"{", b"}", b"[", b"]", b'"', b"'", b"|\n", b">-\n", b"#", b"?"),
    *(b"\\u0000", b"\xff", b"\x00", b"\x85", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"name: b\n", b"spec: {}\n", b"1e9999"),
    *(b"0o17", b"~", b"=", b"[" * 300, b"{a: " * 200, b"a" * 3000, b"[[[[", _CANARY.encode()),
)


@dataclass(frozen=True, slots=True)
class Batch:
    """A number of inputs of one kind, from one seed."""

    kind: str
    seed: int
    count: int
    mutation: str | None = None


def _mutated(good: Any, chance: Random) -> Any:
    """A copy of the document with one change."""
    if chance.random() < 0.25:
        return chance.choice(_TOKENS)
    if isinstance(good, dict) and good:
        key = chance.choice(list(good))
        changed = dict(good)
        match chance.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[str(chance.choice(_TOKENS))[:50]] = chance.choice(_TOKENS)
            case _:
                changed[key] = _mutated(good[key], chance)
        return changed
    if isinstance(good, list) and good:
        return [*good, _mutated(good[0], chance)] if chance.random() < 0.5 else [_mutated(good[0], chance)]
    return chance.choice(_TOKENS)


def _noise(chance: Random, seed: bytes) -> bytes:
    """Random bytes, or a valid input with pieces inserted, removed and doubled."""
    if chance.random() < 0.2:
        return chance.randbytes(chance.choice((0, 1, 3, 40, 400)))
    content = bytearray(seed)
    for _ in range(chance.choice((1, 1, 1, 2, 8))):
        at = chance.randrange(len(content) + 1)
        match chance.randrange(4):
            case 0:
                content[at:at] = chance.choice(_PIECES)
            case 1:
                del content[at : at + chance.choice((1, 2, 10, 60))]
            case 2:
                content[at:at] = content[at : at + 40]
            case _ if at < len(content):
                content[at] = chance.randrange(256)
    return bytes(content)


def _body(name: str, chance: Random) -> bytes:
    if name == "image" and chance.random() < 0.3:
        return chance.choice((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"\xff")) + chance.randbytes(20)
    good = _READERS[name][2]
    for _ in range(chance.choice((0, 1, 1, 2, 3))):
        good = _mutated(good, chance)
    text = json.dumps(good).encode("utf-8", "surrogatepass")
    return text if chance.random() < 0.6 else _noise(chance, text)


def read(name: str, chance: Random) -> str:
    """Give one body to its reader and to the classifier. Return the kind of the answer. Raise AssertionError on a
    violation."""
    operation, reader, _ = _READERS[name]
    status = chance.choice(
        (200, 200, 200, 201, 204, 301, 400, 401, 403, 404, 408, 409, 418, 425, 429, 500, 502, 503, 999)
    )
    body = _body(name, chance)
    header = chance.choice((None, *_TIMES))
    http_date(header)
    reply = HttpReply(status=status, body=body, document=response_parsers.parse(body), retry_after=header)
    try:
        results = _REFERENCE.sub("", repr(reader(reply)))
        assert name in _TOKEN_RICH or _CANARY not in results, "a personal value was accepted"
    except ValueError as error:
        assert _CANARY not in str(error), "a personal value in an error"
    seen: HttpReply | Trouble = chance.choice(list(Trouble)) if chance.random() < 0.02 else reply
    answer = classify(operation, seen, reader, _NOW)
    assert isinstance(answer, Done | Refused | Busy | Unknown)
    assert _CANARY not in repr(answer.evidence), "a personal value in the evidence"
    pause = answer.retry_after if isinstance(answer, Busy) else None
    assert pause is None or 0 <= pause <= 3600, f"a pause of {pause} s"
    return type(answer).__name__.lower()


def loaded(chance: Random) -> str:
    """Give one file to the loader. Return the kind of the result. Raise AssertionError on a violation."""
    content = _noise(chance, chance.choice(_GOOD_FILES))
    found = load(content, "a.yaml")
    assert isinstance(found, LoadedFile)
    lines = (
        content.count(b"\n") + content.count(b"\r") + content.count(b"\xe2\x80\xa8") + content.count(b"\xc2\x85") + 1
    )
    for fault in found.faults:
        assert fault.message, "a fault without a message"
        assert fault.hint, f"no hint: {fault.message}"
        assert 1 <= fault.line <= lines + 1, f"line {fault.line} of {lines}: {fault.message}"
        assert fault.column >= 1
        assert str(fault).isprintable(), "a fault that cannot be printed"
        assert len(fault.message) < 1000, "a fault of 1000 characters or more"
    for document in found.documents:
        assert document.request.name == document.name
    return "good" if found.documents else "refused" if found.faults else "empty"


def _kinds() -> dict[str, Callable[[Random], str]]:
    def reading(name: str) -> Callable[[Random], str]:
        return lambda chance: read(name, chance)

    return {"request file": loaded, **{name: reading(name) for name in _READERS}}


def _run(batch: Batch) -> tuple[Counter[str], list[str]]:
    kind, counts, wrong = _kinds()[batch.kind], Counter[str](), []
    for number in range(batch.count):
        chance = Random(f"{batch.kind}/{batch.seed}/{number}")
        try:
            counts[kind(chance)] += 1
        except BaseException as error:
            what = f"{type(error).__name__} ({str(error)[:200]})"
            wrong.append(f"{batch.kind}, seed {batch.seed}, input {number}: {what}")
    return counts, wrong


def fuzz(seed: int, *, count: int, jobs: int = 1, replies: int | None = None, mutation: str | None = None) -> Report:
    """`count` inputs, half of them for the loader, and `replies` of an HTTP server, by default half as many."""
    replies = count // 2 if replies is None else replies
    report = Report(f"make fuzz: {count:,} inputs, {replies:,} HTTP replies", seed)
    report.rows.append(("reader", "inputs", "good", "refused", "busy", "unknown", "empty", "wrong"))
    began = perf_counter()
    shares = {"request file": count // 2, **dict.fromkeys(_READERS, count // (2 * len(_READERS)) + 1)}
    for kind, share in shares.items():
        pieces = max(1, share // 2000)
        batches = [Batch(kind, seed * 1000 + piece, -(-share // pieces)) for piece in range(pieces)]
        counts, wrong = Counter[str](), []
        for results, bad in run_parallel(_run, batches, jobs):
            counts += results
            wrong += bad
        report.wrong += wrong[:5]
        good = counts["good"] + counts["done"]
        figures = (sum(counts.values()) + len(wrong), good, counts["refused"], counts["busy"], counts["unknown"])
        report.rows.append((kind, *(f"{one:,}" for one in (*figures, counts["empty"], len(wrong)))))
    _add_replies(report, seed, replies, jobs, mutation)
    report.notes.append(f"{perf_counter() - began:.0f} s")
    return report


def _replies(batch: Batch) -> tuple[Counter[str], list[str]]:
    with mutated(batch.mutation):
        return run_replies(batch.seed, batch.count)


def _add_replies(report: Report, seed: int, count: int, jobs: int, mutation: str | None) -> None:
    """Add the row of the HTTP replies. "unknown": the reply is not complete or not valid, for h11 as well."""
    pieces = -(-count // 1500)
    batches = [Batch("http reply", seed * 1000 + piece, -(-count // pieces), mutation) for piece in range(pieces)]
    counts, wrong = Counter[str](), []
    for results, bad in run_parallel(_replies, batches, jobs):
        counts += results
        wrong += bad
    report.wrong += wrong[:5]
    figures = (counts["good"] + counts["unknown"], counts["good"], 0, 0, counts["unknown"], 0, len(wrong))
    report.rows.append(("http reply", *(f"{one:,}" for one in figures)))
    report.notes += [f"{count} x {name}" for name, count in sorted(counts.items()) if name.startswith("stricter")]
