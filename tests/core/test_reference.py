"""External references: one format, written and parsed in one place."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.core.reference import Reference

UID = "0123456789abcdef01234567"


@given(
    st.from_regex(r"[a-z0-9]{1,16}", fullmatch=True),
    st.from_regex(r"[0-9a-f]{24}", fullmatch=True),
    st.integers(1, 999_999_999),
    st.integers(1, 999_999_999),
)
def test_a_formatted_reference_parses_to_the_same_parts(agent: str, uid: str, generation: int, attempt: int) -> None:
    reference = Reference(agent, uid, generation, attempt)
    assert Reference.parse(str(reference)) == reference


@pytest.mark.parametrize(
    "text", [None, "", "aa", f"aa-tests-{UID}-1", f"aa-tests-{UID}-0-1", f"bb-tests-{UID}-1-1", f"aa-tests-{UID}-1-1 "]
)
def test_any_other_text_is_not_parsed(text: str | None) -> None:
    assert Reference.parse(text) is None
