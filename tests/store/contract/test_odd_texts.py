"""Texts and times that a URL or an event may carry: both engines answer, and with the same."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.core.record import Phase
from agent.store import open_audit, open_reading
from agent.store.audit.event_reader import subjects
from agent.store.read_results import Filter
from agent.store.reading.reading import Reading
from tests.store.engines import Engine
from tests.store.support import committed
from verification.builders.lives import Life
from verification.builders.records import upload

WORDS = [
    "",
    "%",
    "_",
    "'",
    '"',
    "\\",
    "\\u0000",
    "?1",
    "$1",
    "\0",
    "a\0b",
    "😀",
    "\U0010ffff",
    "A",
    "a",
    "é",
    "Z",
    "a-b",
]
# Without NUL: it sorts elsewhere in each engine, and is in no name and no key of a page.
texts = st.one_of(
    st.sampled_from([word for word in WORDS if "\0" not in word]),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5),
    st.just("x" * 9_000),
)


async def test_a_text_with_nul_finds_nothing_and_is_no_error(engine: Engine) -> None:
    store = await engine.open()
    await committed(store, Life("u1", upload(labels=(("team", "red"),))).until(Phase.RESULT))
    assert await store.get("u\0") is None
    assert await store.owners(["D-u1", "\0"]) == {"D-u1": "u1"}
    assert await store.inbox.find_request("\0", "\0") is None
    with engine.reading() as reading:
        assert reading.find("name\0") == []
        assert reading.link("\0") is None
        for wanted in (Filter(part="\0"), Filter(labels=[("team", "\0")]), Filter(labels=[("\0", "red")])):
            assert list(reading.page(wanted, 9).records) == []
    await store.aclose()


async def test_a_key_that_is_no_time_is_refused(engine: Engine) -> None:
    await (await engine.open()).aclose()
    with engine.reading() as reading, pytest.raises(ValueError, match="not a key"):
        reading.latest("waiting", 9, after="nan-u1")


def answers(reading: Reading, text: str, other: str) -> list[Any]:
    """The answers to searches with these texts."""
    pages = [
        reading.page(Filter(part=text), 3, after=other),
        reading.page(Filter(labels=[("team", text)]), 3),
        reading.page(Filter(labels=[(text, other)], part=text), 3, before=other),
        reading.latest("waiting", 3, after=f"1800000003.0-{text}"),
    ]
    found = [reading.find(text), reading.by_state(text, 2), [reading.get(text)]]
    return [
        *[([one.uid for one in page.records], page.before, page.after) for page in pages],
        *[[one and one.uid for one in records] for records in found],
        reading.names(text, 5),
        reading.names_around(text, 2),
        reading.owners([text, other]),
        reading.present(text),
        reading.other_source(text),
    ]


@pytest.fixture
async def both_filled(both: tuple[Engine, Engine]) -> tuple[Engine, Engine]:
    """Requests with odd names and labels."""
    for one in both:
        one.settings.key_path.parent.mkdir(exist_ok=True)
        one.settings.key_path.write_text("5b" * 32)
        async with one.opened() as store:
            for number, name in enumerate(word for word in WORDS if word and "\0" not in word):
                request = upload(labels=(("team", name), (name, "x")))
                await committed(
                    store, Life(f"u{number}", request, name=name).until((Phase.DONE, Phase.RESULT)[number % 2])
                )
    return both


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, other=texts)
def test_both_engines_find_the_same(both_filled: tuple[Engine, Engine], text: str, other: str) -> None:
    found = []
    for one in both_filled:
        with open_reading(one.settings) as reading, open_audit(one.settings) as audit:
            found.append([*answers(reading, text, other), [one.uid for one in subjects(audit, text, None)]])
    assert found[0] == found[1]
