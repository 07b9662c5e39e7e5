"""The parser of callgrind's files, and a section that this machine cannot measure."""

import shutil
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import callgrind
from bench.report import Ratio, Skipped

_FILE = """\
events: Ir

ob=(1) /usr/lib/libpython3.11.so.1.0
fl=(1) ceval.c
fn=(1) _PyEval_EvalFrameDefault
10 700

cob=(2) /site-packages/pysqlite3/_sqlite3.so
cfi=(2) cursor.c
cfn=(2) pysqlite_cursor_execute
calls=2 20
10 240
cfn=(3) PyObject_Call
calls=1 30
11 9

ob=(2)
fl=(2)
fn=(2)
20 40
cfn=(4) sqlite3_step
calls=2 40
21 200

fn=(4)
40 150
cfn=(5) sqlite3_free
calls=1 50
41 50
totals: 1140
"""


@pytest.fixture
def thread(tmp_path: Path) -> callgrind.Thread:
    path = tmp_path / "threads-01"
    path.write_text(_FILE)
    return callgrind._read(path)


def test_a_thread_has_its_total(thread: callgrind.Thread) -> None:
    assert thread.total == 1140


def test_calls_into_a_library_count_once(thread: callgrind.Thread) -> None:
    assert thread.inside(r"pysqlite", "_sqlite3") == 240
    assert thread.inside(r"sqlite3_", "_sqlite3", "pysqlite") == 200  # without the call from SQLite itself


def test_a_call_without_a_library_stays_in_that_of_the_caller(thread: callgrind.Thread) -> None:
    assert thread.inside("PyObject_Call", "libpython") == 9


def test_without_valgrind_the_section_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Skipped, match=r"valgrind is not installed\. Try: "):
        callgrind.count("bench.instructions", "core", "1", "http://127.0.0.1:9")


def test_a_skipped_section_keeps_its_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results.json"
    results.write_text('{"instructions": {}}')
    monkeypatch.setattr(command, "RESULTS", results)
    monkeypatch.setattr("sys.argv", ["bench", "instructions"])
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert command.main() == 0
    assert results.read_text() == '{"instructions": {}}'
    assert capsys.readouterr().out.startswith("instructions: skipped. valgrind is not installed.")


def test_a_ratio_has_the_median_and_the_spread_of_the_rounds() -> None:
    ratio = Ratio.of_rounds("bare / agent", [0.5, 0.4, 0.48], aim=0.45)
    assert ratio.met
    assert str(ratio) == "bare / agent: 0.48 (0.40 to 0.50)  (at least 0.45)"
