#!/usr/bin/env python3
"""Verify an export of the Assure Agent (`assure-agent audit export`). Needs Python 3.9 or newer, and nothing else.

    python3 verify_export.py export.jsonl [--checkpoints copy.checkpoints.jsonl]

The script checks the following:

- The hash of each event is SHA-256 over the JSON of [previous hash, uid, seq, at, type, changes]. So the events of each
  request are a chain.
- `time` is `at` as ISO text.
- No event is missing in the order of writing.
- The digest of the journal, a fold SHA-256(digest + hash), matches every checkpoint. The checkpoints are a chain too.
- The header (the first line) and the counts match the last line.
- Every line has the fields that the agent writes, and is in order.

With --checkpoints, the script also compares the events with a copy of the checkpoint file that was kept elsewhere.
Without such a copy, it cannot detect an export that was completely rewritten with new hashes.

Exit codes: 0 valid, 1 not valid, 2 wrong use. Each fault is one line, the first of its kind.
"""

import argparse
import hashlib
import json
import sys
from datetime import datetime, timezone
from pathlib import Path

FORMAT = 2
CHECKPOINTS = ("checkpoint", "restore", "break")
CHECKPOINT = {"number", "kind", "at", "event", "head", "digest", "previous", "commands", "commands_head", "hash"}
FIELDS = {  # of each kind of line, in the order of the kinds
    "export": {"kind", "format", "agent", "at", "whole", "account", "simulated"},
    "event": {"kind", "event", "uid", "seq", "time", "at", "type", "changes", "hash"},
    "request": {"kind", "uid", "events", "head"},
    "checkpoint": CHECKPOINT,
    "restore": CHECKPOINT,
    "break": CHECKPOINT,
    "end": {"kind", "events", "requests", "checkpoints", "digest", "header"},
}
ORDER = {"export": 0, "event": 1, "request": 2, "checkpoint": 3, "restore": 3, "break": 3, "end": 4}
SANDBOX = "the built-in sandbox"


def sha256_json(value, sort_keys=False):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    return hashlib.sha256(text.encode()).hexdigest()


def extend_digest(digest, event_hash):
    return hashlib.sha256((digest + event_hash).encode()).hexdigest()


def format_timestamp(at):
    """Seconds since the epoch as ISO text in UTC, as the agent writes it."""
    when = datetime.fromtimestamp(round(at, 3), timezone.utc)  # noqa: UP017 - Python 3.9 has no datetime.UTC
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def same_time(text, at):
    try:
        return text == format_timestamp(at)
    except (TypeError, ValueError, OverflowError, OSError):
        return False


class Export:
    """The export, as far as it was read. `faults` are sentences."""

    def __init__(self):
        self.faults = []
        self.header = None
        self.stage = -1  # the ORDER of the last line
        self.heads = {}  # uid -> (events, hash of the last)
        self.broken = set()  # uids with a broken chain
        self.closed = set()  # uids whose head was compared
        self.digests = {0: ""}  # event -> digest of the journal, for the events of checkpoints
        self.digest = ""
        self.events = self.last = 0
        self.whole = True
        self.simulated = None
        self.checkpoints = []
        self.end = None

    def line(self, number, line, wanted):
        kind = line["kind"]
        if kind not in FIELDS:
            raise KeyError(kind)
        if line.keys() != FIELDS[kind]:
            odd = ", ".join(sorted(line.keys() ^ FIELDS[kind]))
            self.once("fields", f"line {number}: wrong fields in a line of kind {kind} ({odd})")
        if ORDER[kind] < max(self.stage, 0) or (self.stage < 0) != (kind == "export") or self.end is not None:
            self.once("stage", f"line {number}: a line of kind {kind} is out of order, or duplicate")
        self.stage = max(self.stage, ORDER[kind])
        if kind == "export":
            self.begin(line)
        elif kind == "event":
            self.event(line, wanted)
        elif kind == "request":
            self.request(line)
        elif kind == "end":
            self.end = line
        else:
            self.checkpoints.append(line)

    def begin(self, line):
        self.header, self.whole, self.simulated = line, line["whole"], line["simulated"]
        if line["format"] != FORMAT:
            sys.exit(
                f"the export has format {line['format']}, and this script reads {FORMAT}. "
                "Try: the script that `assure-agent audit export --script` prints, of the same version as the export."
            )
        if (line["account"] == SANDBOX) != (line["simulated"] is not None):
            self.faults.append("the header contradicts itself: its account and its field `simulated` do not match")

    def event(self, line, wanted):
        number, uid = line["event"], line["uid"]
        self.events += 1
        if self.whole and number != self.last + 1:
            self.once("order", f"event {self.last + 1} is missing, or moved")
        self.last = number
        self.digest = extend_digest(self.digest, line["hash"])
        if number in wanted:
            self.digests[number] = self.digest
        seq, head = self.heads.get(uid, (0, ""))
        if uid in self.broken:
            return
        if line["seq"] != seq + 1:
            self.breaks(uid, f"event {number}, event {seq + 1} of request {uid}: the event is missing")
        elif sha256_json([head, uid, line["seq"], line["at"], line["type"], line["changes"]]) != line["hash"]:
            self.breaks(uid, f"event {number}, event {seq + 1} of request {uid}: the event is not what was written")
        elif not same_time(line["time"], line["at"]):
            self.once("time", f"event {number}, event {seq + 1} of request {uid}: its time is not its `at` as text")
        self.heads[uid] = (line["seq"], line["hash"])

    def request(self, line):
        uid = line["uid"]
        if uid in self.closed:
            self.once("twice", f"request {uid}: the line is duplicate")
        self.closed.add(uid)
        if uid not in self.broken and self.heads.get(uid, (0, "")) != (line["events"], line["head"]):
            self.breaks(uid, f"request {uid}: the history was cut off or extended")

    def breaks(self, uid, what):
        self.broken.add(uid)
        self.faults.append(what)

    def once(self, kind, what):
        if kind not in self.broken:
            self.breaks(kind, what)

    def finish(self):
        for uid in sorted(set(self.heads) - self.closed - self.broken):
            self.faults.append(f"request {uid}: its events belong to no request")
        if self.end is None:
            self.faults.append("the export has no end: it was truncated")
        elif self.end["header"] != sha256_json(self.header, sort_keys=True):
            self.faults.append("the header of the export (its first line) is not what was written")
        elif (self.end["events"], self.end["digest"]) != (self.events, self.digest):
            self.faults.append("the events of the export are not those that its end counts")
        elif self.end["requests"] != len(self.closed) or self.end["checkpoints"] != len(self.checkpoints):
            self.faults.append("the requests or checkpoints of the export are not those that its end counts")
        if not self.whole and (len(self.closed) != 1 or self.checkpoints):
            self.faults.append("the header says that the export is of one request, and it is not")
        self.check(self.checkpoints, "checkpoint")

    def check(self, checkpoints, called):
        """Compare the events with checkpoints."""
        before, effective = {"number": 0, "hash": ""}, []
        for line in checkpoints:
            covered = [line[key] for key in ("previous", "number", "kind", "at", "event", "head", "digest")]
            covered += [line["commands"], line["commands_head"]]
            if line["number"] != before["number"] + 1 or line["previous"] != before["hash"]:
                self.once(called, f"{called} {line['number']} does not follow {before['number']}: lines are missing")
            elif sha256_json(covered) != line["hash"]:
                self.once(called, f"{called} {line['number']} is not what was written")
            before = line
            if line["kind"] == "break":
                self.faults.append(f"{called} {line['number']} ({line['at']}): the agent found the journal changed")
            if line["kind"] != "checkpoint":
                effective = [one for one in effective if one["event"] <= line["event"]]
            effective.append(line)
        good = 0
        for line in effective:
            if line["event"] > self.last:
                self.faults.append(
                    f"events after {good} were removed, at the end or before it: {called} {line['number']} "
                    f"({line['at']}) has {line['event']} events, and the export has {self.events}"
                )
                break
            if self.digests.get(line["event"]) != line["digest"]:
                self.faults.append(
                    f"one of the events {good + 1} to {line['event']} was changed, removed, inserted or moved: "
                    f"{called} {line['number']} ({line['at']}) has others"
                )
                break
            good = line["event"]


class DuplicateKey(ValueError):
    """A duplicate key in an object: a reader may see one value, and a program the other."""


def unique(pairs):
    found = dict(pairs)
    if len(found) != len(pairs):
        raise DuplicateKey
    return found


def parsed(text):
    line = json.loads(text, object_pairs_hook=unique)
    if not isinstance(line, dict):
        raise TypeError
    return line


def read(path):
    with Path(path).open(encoding="utf-8") as file:
        number = 1
        try:
            for text in file:
                yield parsed(text)
                number += 1
        except DuplicateKey:
            sys.exit(f"{path}:{number}: duplicate key. Try: an export as `assure-agent audit export` writes it.")
        except (ValueError, TypeError):  # not JSON, not an object, or not text
            sys.exit(f"{path}:{number}: this is not JSON. Try: an export as `assure-agent audit export` writes it.")


def verify(path, copy):
    """Read the export twice: first for the events of the checkpoints, then for all events."""
    kept = list(read(copy)) if copy else []
    wanted = {line["event"] for line in kept}
    wanted |= {line["event"] for line in read(path) if line.get("kind") in CHECKPOINTS}
    export = Export()
    for number, line in enumerate(read(path), start=1):
        export.line(number, line, wanted)
    export.finish()
    if copy:
        export.check(kept, "checkpoint of the copy")
    return export


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("export", help="the file that `assure-agent audit export` wrote")
    parser.add_argument("--checkpoints", help="a copy of the checkpoint file that was kept elsewhere")
    arguments = parser.parse_args()
    try:
        export = verify(arguments.export, arguments.checkpoints)
    except OSError as error:
        sys.exit(f"{error.filename} cannot be read: {error.strerror}.")
    except (KeyError, TypeError):
        sys.exit(f"{arguments.export} is not an export of the agent. Try: `assure-agent audit export`.")
    if export.simulated:
        print(export.simulated)
    for fault in export.faults:
        print(fault)
    held = (
        f", {len(export.checkpoints)} checkpoints"
        if export.whole
        else " (one request: checkpoints cover whole exports only)"
    )
    fine = "NOT what was written" if export.faults else "ok"
    print(f"{export.events} events of {len(export.closed)} requests{held}: {fine}")
    sys.exit(1 if export.faults else 0)


if __name__ == "__main__":
    main()
