"""Transcripts: the steps of a scenario as text. `make transcripts` writes them, `test_transcripts.py` compares them.

A transcript has a paragraph for each step: the time, the observation, then everything that the step writes or
requests. Times are relative to the start of the scenario. The usual steps before its subject are only named.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import scenarios
from story import NOW, POLICY, Entry, Story

from agent.core.audit import _RECORD_FIELDS
from agent.core.effect import ImageRef
from agent.core.policy import Policy
from agent.core.record import Desired, Hold, Record

FOLDER = Path(__file__).parent / "transcripts"
_HIDDEN = {"version", "due_at", "desired", "result", "hold", "intent", "next"} | {name for _, name, _ in _RECORD_FIELDS}


def all_scenarios() -> dict[str, Callable[[], Story]]:
    """Every scenario by the path of its transcript below the folder, without the suffix."""
    found = {}
    for module in pkgutil.iter_modules(scenarios.__path__):
        loaded = importlib.import_module(f"scenarios.{module.name}")
        for name, scenario in inspect.getmembers(loaded, inspect.isfunction):
            if scenario.__module__ == loaded.__name__ and not name.startswith("_"):
                found[f"{module.name}/{name}"] = scenario
    return found


def transcript(scenario: Callable[[], Story]) -> str:
    """Run a scenario and return its transcript."""
    story = scenario()
    paragraphs, policy = [inspect.getdoc(scenario) or ""], POLICY
    if story.prologue:
        paragraphs.append("\n".join(_prologue(story)))
        policy = story.entries[story.prologue - 1].policy
    for entry in story.entries[story.prologue :]:
        paragraphs.append("\n".join(_paragraph(entry, policy)))
        policy = entry.policy
    return "\n\n".join(paragraphs) + "\n"


def _prologue(story: Story) -> Iterator[str]:
    entries = story.entries[: story.prologue]
    last = entries[-1]
    yield f"{_time(last.at)} (before: {', '.join(_name(entry) for entry in entries)})"
    yield from _line("request", _value(story.desired))
    if last.policy != POLICY:
        yield from _line("policy", _changes(POLICY, last.policy))
    yield from _line("phase", _phase(last.step.record))
    yield from _line("effect", _value(last.step.effect) if last.step.effect is not None else "")
    yield from _line("due", _due(last.step.record))


def _name(entry: Entry) -> str:
    return "Admitted" if entry.observation is None else type(entry.observation).__name__


def _phase(record: Record) -> str:
    return f"{record.phase.value} of generation {record.generation}, attempt {record.attempt}"


def _due(record: Record) -> str:
    if record.due_at is None:
        return "never"
    return _time(record.due_at) if record.due_at else "at once"


def _paragraph(entry: Entry, policy: Policy) -> Iterator[str]:
    step, before, after = entry.step, entry.step.before, entry.step.record
    observation = "Admitted" if entry.observation is None else _value(entry.observation)
    yield f"{_time(entry.at)} {observation}" + ("" if entry.requested else " (no effect is requested)")
    if entry.policy != policy:
        yield from _line("policy", _changes(policy, entry.policy))
    if before is None or (before.generation, before.phase) != (after.generation, after.phase):
        yield from _line("phase", _phase(after))
    if before is None or before.state != after.state:
        yield from _line("state", after.state)
    for event in step.events:
        written = " ".join(f"{key}={_value(value)}" for key, value in sorted(event.changes.items()))
        yield from _line("event", f"{event.type} {written}")
    if before is not None:
        yield from _line("record", _changes(before, after, _HIDDEN))
        yield from _line("next", _value(after.next) if after.next != before.next else "")
        yield from _line("document", _changes(before.desired, after.desired, {"digest"}))
    if step.answered is not None:
        yield from _line("answer", f"{step.answered.result.value} to intent {step.answered.number}")
    if step.call_result is not None:
        yield from _line("call", step.call_result[0].value)
    yield from _line("hold", _hold(step.held, before))
    yield from _line("notice", ", ".join(_value(notice) for notice in step.notifications))
    yield from _line("orphan", step.orphan or "")
    yield from _line("link", step.link or "")
    yield from _line("claims", _value(step.encrypted_claims) if step.encrypted_claims is not None else "")
    yield from _line("guard", "counts as a withdrawal" if step.withdraws else "")
    yield from _line("effect", _value(step.effect) if step.effect is not None else "")
    yield from _line("commit", "with the next answer" if step.commit_later else "")
    if not step.changed and step.effect is None:
        yield "    nothing changes"
    if before is None or before.due_at != after.due_at:
        yield from _line("due", _due(after))


def _line(name: str, text: str) -> Iterator[str]:
    if text:
        yield f"    {name:9}{text}"


def _hold(hold: Hold | None, before: Record | None) -> str:
    if hold is None:
        return ""
    fixed = "" if before is None or before.hold is None else f", replaces {before.hold.reason.value}"
    about = f", about document {hold.essence}" if hold.essence else ""
    return f"{hold.id} {hold.reason.value} {hold.evidence}".rstrip() + about + fixed


def _changes(before: Any, after: Any, hidden: set[str] | frozenset[str] = frozenset()) -> str:
    changed = [
        (field.name, getattr(after, field.name))
        for field in fields(after)
        if field.name not in hidden and getattr(before, field.name) != getattr(after, field.name)
    ]
    return " ".join(f"{name}={_value(value)}" for name, value in changed)


def _time(at: float) -> str:
    return f"+{round(at - NOW, 3):g}s" if at >= NOW else f"-{round(NOW - at, 3):g}s"


def _value(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Desired):
        usual = ("digest", "process_type", "document_id", "capture", *(("images",) if len(value.images) != 1 else ()))
        return f"{value.mode}({_given(value, usual)})"
    if isinstance(value, ImageRef):
        return f"{value.depiction.value}:{value.path}"
    if is_dataclass(value):
        return f"{type(value).__name__}({_given(value, ('at', 'jitter', 'key_id'))})"
    if isinstance(value, float):
        return _time(value) if value > NOW / 2 else f"{value:g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one) for one in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_value(one)}' for key, one in value.items())}}}"
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{32,}", value):
        return value[:6]
    return "none" if value is None else str(value)


def _given(value: Any, hidden: tuple[str, ...]) -> str:
    given = []
    for field in fields(value):
        content = getattr(value, field.name)
        if field.name not in hidden and field.repr and (field.default is MISSING or content != field.default):
            given.append(f"{field.name}={_value(content)}")
    return ", ".join(given)


def main() -> None:
    """Write all transcripts, and remove those without a scenario."""
    made = {FOLDER / f"{name}.txt": transcript(scenario) for name, scenario in all_scenarios().items()}
    for old in set(FOLDER.rglob("*.txt")) - made.keys():
        old.unlink()
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
