"""An export is verified by a script that knows nothing of us [I5], and names nobody [I6]."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.record import Phase
from agent.core.timestamps import format_timestamp
from agent.store.audit.checkpoints import checkpoint_path
from agent.store.audit.export import verifier
from agent.store.audit.query_library import SHIPPED
from verification.audits import export_lines
from verification.builders.lives import LINK, Life
from verification.builders.records import NOW, capture, upload

from .support import committed, opened

SCRIPT = Path(__file__).parents[2] / "state" / "verify_export.py"
Lines = list[dict[str, Any]]


async def histories(folder: Path) -> Path:
    store = opened(folder)
    await committed(store, Life("u1").until(Phase.DONE))
    await store.checkpoint(NOW)
    await committed(store, Life("u2", desired=capture()).until(Phase.RESULT))
    await committed(store, Life("u3", desired=upload(retention=60.0)).until(Phase.DELETION))
    await store.checkpoint(NOW + 1)
    store.close()
    return folder / "agent.db"


def verified(lines: Lines, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """What the script says; isolated, so that it can import nothing of ours."""
    file = folder / "export.jsonl"
    file.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    command = [sys.executable, "-I", "-S", str(SCRIPT), str(file), *options]
    return subprocess.run(command, capture_output=True, text=True, cwd=folder)


async def test_an_export_is_verified_without_us(tmp_path: Path) -> None:
    lines = list(export_lines(await histories(tmp_path), NOW))
    kinds = [line["kind"] for line in lines]
    assert kinds == ["export", *["event"] * (len(lines) - 7), *["request"] * 3, *["checkpoint"] * 2, "end"]
    said = verified(lines, tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == f"{len(lines) - 7} events of 3 requests, 2 checkpoints: ok\n"


@pytest.mark.parametrize("content", [b"\xff\x00\x01", b"{", b"[]", b"1"])
def test_an_invalid_export_is_reported_with_its_line(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "other"
    file.write_bytes(b"{}\n" + content)
    said = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT), str(file)], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith(f"{file}:")
    assert "this is not JSON. Try: " in said.stderr
    assert "Traceback" not in said.stderr


async def test_the_export_of_one_request_is_verified_without_us(tmp_path: Path) -> None:
    lines = list(export_lines(await histories(tmp_path), NOW, "u2"))
    assert {line.get("uid", "u2") for line in lines} == {"u2"}
    said = verified(lines, tmp_path)
    assert said.returncode == 0
    assert "events of 1 requests (one request: checkpoints cover whole exports only): ok" in said.stdout


async def test_nobody_is_named_in_an_export(tmp_path: Path) -> None:
    """[I6]"""
    text = json.dumps(list(export_lines(await histories(tmp_path), NOW)))
    for part in ("name-u", "somebody", LINK, "shop.example"):
        assert part not in text


def events(lines: Lines) -> Lines:
    return [line for line in lines if line["kind"] == "event"]


def change(lines: Lines) -> None:
    events(lines)[4]["changes"] = '{"phase":"done"}'


def move(lines: Lines) -> None:
    one, other = events(lines)[3], events(lines)[4]
    one["seq"], other["seq"] = other["seq"], one["seq"]


def remove(lines: Lines) -> None:
    lines.remove(events(lines)[4])


def insert(lines: Lines) -> None:
    lines.insert(5, dict(events(lines)[4]))


def cut(lines: Lines) -> None:
    del lines[-12:]


def remove_a_request(lines: Lines) -> None:
    lines[:] = [line for line in lines if line.get("uid") != "u2"]
    for number, line in enumerate(events(lines), start=1):
        line["event"] = number


def change_a_checkpoint(lines: Lines) -> None:
    lines[-2]["digest"] = "0" * 64


def change_a_time(lines: Lines) -> None:
    events(lines)[3]["time"] = "2025" + events(lines)[3]["time"][4:]


def of_a_header(**fields: Any) -> Callable[[Lines], None]:
    def tampering(lines: Lines) -> None:
        lines[0] |= fields

    return tampering


def add_a_field(lines: Lines) -> None:
    events(lines)[3]["outcome"] = "accepted"


def drop_the_header(lines: Lines) -> None:
    del lines[0]


def move_the_header(lines: Lines) -> None:
    lines.insert(3, lines.pop(0))


def repeat_the_header(lines: Lines) -> None:
    lines.insert(3, lines[0])


def add_after_the_end(lines: Lines) -> None:
    lines.append(dict(lines[-1]))


def repeat_a_request(lines: Lines) -> None:
    lines.insert(-4, lines[-5])


def change_the_commands_of_a_checkpoint(lines: Lines) -> None:
    lines[-2]["commands"] = 7


HEADER = "the header of the export (its first line) is not what was written"


@pytest.mark.parametrize(
    ("tampering", "words"),
    [
        (change_a_time, "event 4, event 4 of request u1: its time is not its `at` as text"),
        (of_a_header(at="2020-01-01T00:00:00.000Z"), HEADER),
        (of_a_header(account="another client at https://api.example"), HEADER),
        (of_a_header(agent="9.9.9"), HEADER),
        (of_a_header(whole=False), HEADER),
        (of_a_header(simulated="SIMULATED"), HEADER),
        (
            of_a_header(account="the built-in sandbox"),
            "the header contradicts itself: its account and its field `simulated` do not match",
        ),
        (of_a_header(note="x"), "line 1: wrong fields in a line of kind export (note)"),
        (add_a_field, "line 5: wrong fields in a line of kind event (outcome)"),
        (drop_the_header, "line 1: a line of kind event is out of order, or duplicate"),
        (move_the_header, "line 1: a line of kind event is out of order, or duplicate"),
        (repeat_the_header, "line 4: a line of kind export is out of order, or duplicate"),
        (add_after_the_end, "a line of kind end is out of order, or duplicate"),
        (repeat_a_request, "the line is duplicate"),
        (change_the_commands_of_a_checkpoint, "checkpoint 2 is not what was written"),
        (change, "event 5 of request u1: the event is not what was written"),
        (move, "the event is missing"),
        (remove, "event 5 is missing"),
        (insert, "is missing, or moved"),
        (cut, "the export has no end"),
        (remove_a_request, "events after 9 were removed"),
        (change_a_checkpoint, "checkpoint 2 is not what was written"),
    ],
)
async def test_an_export_that_was_changed_is_found(
    tmp_path: Path, tampering: Callable[[Lines], None], words: str
) -> None:
    lines = list(export_lines(await histories(tmp_path), NOW))
    tampering(lines)
    said = verified(lines, tmp_path)
    assert said.returncode == 1
    assert words in said.stdout
    assert said.stdout.endswith(": NOT what was written\n")


async def test_an_export_of_another_format_and_a_key_that_is_there_twice_are_refused(tmp_path: Path) -> None:
    lines = list(export_lines(await histories(tmp_path), NOW))
    said = verified([lines[0] | {"format": 1}, *lines[1:]], tmp_path)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith("the export has format 1, and this script reads 2. Try: ")
    file = tmp_path / "twice.jsonl"
    text = b"".join(orjson.dumps(line) + b"\n" for line in lines)
    file.write_bytes(text.replace(b'"time":', b'"time":"2020-01-01T00:00:00.000Z","time":', 1))
    said = subprocess.run([sys.executable, "-I", "-S", str(SCRIPT), str(file)], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (1, "")
    assert said.stderr.startswith(f"{file}:2: duplicate key. Try: ")


@given(st.floats(0, 4e9))
def test_the_script_writes_times_as_we_do(at: float) -> None:
    script: dict[str, Any] = {"__name__": "script"}
    exec(compile(SCRIPT.read_text(), str(SCRIPT), "exec"), script)
    assert script["format_timestamp"](at) == format_timestamp(at)


async def test_checkpoints_that_were_kept_elsewhere_are_held_against_an_export(tmp_path: Path) -> None:
    path = await histories(tmp_path)
    kept = tmp_path / "kept.jsonl"
    shutil.copy(checkpoint_path(path), kept)
    lines = list(export_lines(path, NOW))
    assert verified(lines, tmp_path, "--checkpoints", str(kept)).returncode == 0
    kept.write_bytes(kept.read_bytes().replace(orjson.dumps(lines[-2]["digest"]), orjson.dumps("0" * 64)))
    said = verified(lines, tmp_path, "--checkpoints", str(kept))
    assert said.returncode == 1
    assert "checkpoint of the copy 2 is not what was written" in said.stdout


def test_an_invalid_export_is_reported_in_one_line(tmp_path: Path) -> None:
    said = verified([{"a": 1}], tmp_path)
    assert (said.returncode, said.stdout) == (1, "")
    assert "is not an export of the agent. Try: " in said.stderr
    assert "Traceback" not in said.stderr


@given(st.text(), st.floats(1e8, 1e11), st.integers(1, 2**53))
def test_the_script_writes_json_as_we_do(text: str, at: float, number: int) -> None:
    """Hashes are over the text: the same value has to be the same bytes in both."""
    value = ["", text.encode("utf-8", "ignore").decode(), number, at]
    assert json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() == orjson.dumps(value)


def test_files_for_auditors_are_in_the_package() -> None:
    """In the tree they are links; a wheel holds the files."""
    assert verifier() == SCRIPT.read_text()
    assert SHIPPED.resolve() == SCRIPT.with_name("queries")
