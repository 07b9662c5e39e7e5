"""The same steps leave the same rows and the same hashes on both engines, however they are distributed over commits."""

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.observations import DocumentChanged
from agent.core.policy import Policy
from agent.core.record import Phase
from agent.core.step import Step
from agent.ports import Command, Receipt
from agent.store.sqlite.connection import Connection
from agent.store.sqlite.operator_commands import record_command
from agent.store.sqlite.secure_delete import forget_request
from agent.store.sqlite.step_writer import StepWriter
from agent.store.writing.inbox import receipt_statements
from tests.store.test_step_writer import LABELS, empty, happens, histories
from verification.builders import lives
from verification.builders.lives import Life
from verification.builders.records import BACK, FRONT, NOW, ORIGIN, capture, sealed, upload

from .support import KEYS, SINKS, TABLES, Opened, content, content_of_sqlite, opened

Extra = Receipt | Command | None


def written_to_sqlite(steps: Sequence[Step], extras: Sequence[Extra] = ()) -> Connection:
    """Each step alone, each with what belongs to it."""
    connection, writer = empty(), StepWriter(KEYS, SINKS)
    for number, step in enumerate(steps):
        writer.write(connection, [step])
        extra = extras[number % len(extras)] if extras else None
        if isinstance(extra, Receipt):
            for one in receipt_statements(extra):
                connection.executemany(one.sql, one.rows)
        elif isinstance(extra, Command):
            record_command(connection, KEYS, _numbered(extra, number), "answer", NOW + number)
            writer.forget()
    return connection


async def written(to: Opened, steps: Sequence[Step], extras: Sequence[Extra], together: int) -> None:
    """The same, so many at a time."""
    for first in range(0, len(steps), together):
        await asyncio.gather(
            *(
                _commit(to, step, number, extras[number % len(extras)] if extras else None)
                for number, step in enumerate(steps[first : first + together], first)
            )
        )


def _commit(to: Opened, step: Step, number: int, extra: Extra) -> Any:
    if isinstance(extra, Command):
        return to.commits.apply_command(_numbered(extra, number), "answer", NOW + number, [step])
    return to.commits.commit([step], extra)


def _numbered(command: Command, number: int) -> Command:
    return Command(id=f"c{number}", verb=command.verb, uid=command.uid, sender=command.sender)


def same_salts() -> Any:
    return mock.patch.object(secrets, "token_hex", lambda size: "5a" * size)  # they are random


EXTRAS: st.SearchStrategy[Extra] = st.one_of(
    st.none(),
    st.builds(
        Receipt, digest=st.sampled_from("abc"), at=st.just(NOW), forget_before=st.sampled_from((0.0, NOW))
    ),
    st.builds(
        Command, id=st.just(""), verb=st.just("resolve"), uid=st.sampled_from((None, "u0", "u1", "unknown")),
        sender=st.sampled_from((None, "root")),
    ),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=histories(),
    together=st.integers(1, 40),
    extras=st.lists(EXTRAS, max_size=7),
    forgets=st.booleans(),
)
def test_both_engines_have_the_same_rows(
    database: str, steps: list[Step], together: int, extras: list[Extra], forgets: bool
) -> None:
    """[I4, I5]"""

    async def compare() -> None:
        async with opened(database) as ours:
            tables = ", ".join(name for (name,) in await ours.pool.fetch(TABLES) if name != "meta")
            await ours.pool.execute(f"TRUNCATE {tables} RESTART IDENTITY")
            await ours.pool.execute("UPDATE meta SET value = ''")
            if forgets:
                ours.commits._rows = _Forgetful()
            await written(ours, steps, extras, together)
            assert await content(ours.pool) == content_of_sqlite(written_to_sqlite(steps, extras))
            await ours.counted()
            await ours.owner.leave()

    with same_salts():
        asyncio.run(compare())


class _Forgetful(dict[Any, Any]):
    def get(self, *_: Any) -> None:
        return None


async def test_whole_lives_with_every_kind_of_row_are_the_same(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Claims, images, orphans, links, labels, origins, budgets: no kind of row is left out."""
    monkeypatch.setattr(lives, "DEFAULT_POLICY", Policy(discard_images=True))
    document = upload(labels=LABELS, origin=ORIGIN, file="f", images=(FRONT,))
    edited = upload(essence="two", labels=(("team", "blue"),), origin=ORIGIN, file="f", images=(BACK,), rerun="again")
    doubtful, removed = Life("u1", document), Life("u5", document)
    while doubtful.record.intent is None:
        doubtful.goes_on()
    happens(doubtful, "unanswered")
    doubtful.steps[-1].orphan = "aa-a1-u1-1-1"
    doubtful.steps[-1].record = replace(doubtful.record, reserved_at=NOW)
    happens(removed, "removed")
    linked = Life("u2", capture(labels=(("team", 'a\tb \\u0000 "quoted" ü €'),))).until(Phase.RESULT)
    unlinked = Life("u6", capture(retention=60.0)).until(Phase.DONE)
    again = Life("u3", document).until(Phase.DONE)
    again.sees(DocumentChanged, desired=edited)
    claiming = Life("u4", document).until(Phase.DONE)
    claiming.steps[-1].encrypted_claims = sealed(NOW + 60)
    steps = [step for life in (doubtful, removed, linked, unlinked, again, claiming) for step in life.steps]
    extras = (Receipt(digest="d", at=NOW, forget_before=0.0), Command(id="", verb="resolve", uid="u1", sender="root"))
    with same_salts():
        async with opened(database) as ours:
            await written(ours, steps, extras, 1)
            found = await content(ours.pool)
            await ours.counted()
        assert found == content_of_sqlite(written_to_sqlite(steps, extras))
    assert {name for name, rows in found.items() if not rows} == {
        "recoveries", "refusals", "scan_notes", "source_revisions", "sources", "unclaimed_dossiers",
    }  # fmt: skip


async def test_an_erased_request_leaves_the_same_rows(database: str) -> None:
    """[I6] The other requests keep theirs."""
    document = upload(labels=LABELS, origin=ORIGIN, file="f", images=(FRONT,))
    lives = [Life(f"u{number}", document).until(Phase.DONE) for number in range(3)]
    steps = [step for life in lives for step in life.steps]
    extras = (None, Command(id="", verb="resolve", uid="u1", sender="root"))
    with same_salts():
        async with opened(database) as ours:
            await written(ours, steps, extras, 1)
            await ours.commits.erase("u1", NOW)
            found = await content(ours.pool)
            await ours.counted()
        connection = written_to_sqlite(steps, extras)
        forget_request(connection, KEYS, "u1", NOW)
        assert found == content_of_sqlite(connection)
