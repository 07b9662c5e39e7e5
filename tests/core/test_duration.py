"""Durations in text form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from agent.core.duration import LONGEST_SECONDS, Duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90.0),
        ("15m", 900.0),
        ("24h", 86_400.0),
        ("30d", 2_592_000.0),
        ("1h30m", 5_400.0),
        ("250ms", 0.25),
        ("0s", 0.0),
        ("0", 0.0),
        ("1.5h", 5_400.0),
        (".5s", 0.5),
        ("10us", 0.00001),
        ("10µs", 0.00001),
        ("3650d", LONGEST_SECONDS),
    ],
)
def test_a_duration_is_parsed_into_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_the_number_zero_is_a_duration_and_no_other_number() -> None:
    read = TypeAdapter(Duration).validate_python
    assert read(0) == 0.0
    for other in (False, 0.0, 5, -1, None):
        with pytest.raises(ValidationError, match="expected a duration such as 90s"):
            read(other)


@pytest.mark.parametrize(
    "text", ["", "5", "s", "1 h", "1h ", "1w", "1H", "+1h", "1e3s", "1h-1m", "١s", "1..5s", "9" * 50 + "s"]
)
def test_an_invalid_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected a duration such as 90s, 15m, 24h or 30d"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-5m", "expected a duration that is not negative"),
        ("3651d", "expected a duration of at most 10 years"),
        ("999999999999d", "expected a duration of at most 10 years"),
        ("0.1us", "expected a duration of whole microseconds"),
    ],
)
def test_the_error_names_the_limit(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0s", "250ms", "90s", "15m", "24h", "47h", "2d", "2d1h", "30d", "1h30m"])
def test_common_durations_have_their_usual_form(text: str) -> None:
    expected = {"90s": "1m30s"}.get(text, text)
    assert format_duration(parse_duration(text)) == expected


@given(st.integers(0, int(LONGEST_SECONDS) * 1_000_000))
def test_a_formatted_duration_parses_to_the_same_value(microseconds: int) -> None:
    seconds = microseconds / 1_000_000
    assert parse_duration(format_duration(seconds)) == seconds


def test_a_duration_field_is_text_in_json_and_seconds_in_python() -> None:
    adapter: TypeAdapter[float] = TypeAdapter(Duration)
    assert adapter.validate_python("24h") == 86_400.0
    assert adapter.dump_json(86_400.0) == b'"24h"'
    assert adapter.json_schema()["type"] == ["string", "integer"]  # `0` alone is a duration as well
    for wrong in (24, 24.0, None, True, ["24h"]):
        with pytest.raises(ValidationError, match="expected a duration such as"):
            adapter.validate_python(wrong)
