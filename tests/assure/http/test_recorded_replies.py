"""Recorded replies of the sandbox: cut at each byte and joined in each way, they are read as h11 reads them."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

import pytest

from agent.assure.http.messages import ExchangeError
from agent.assure.http.reply_reader import ReplyReader
from verification.h11_reference import Outcome, reference, stricter_rule

LIMIT = 10_000  # bytes of a body, more than a recorded one has
RECORDED = json.loads(Path(__file__).with_name("recorded_replies.json").read_text())
REPLIES = {name: text.encode("latin-1") for name, text in RECORDED.items()}
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n1\r\nd\r\n0\r\nX-T: 1\r\n\r\n"
INTERIM = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


def read(pieces: Iterable[bytes], reader: ReplyReader | None = None, *, ends: bool = False) -> Outcome:
    """The reply that the agent reads from these pieces. None: not complete, or not valid."""
    reader = reader or ReplyReader()
    reader.expect(LIMIT)
    try:
        for piece in pieces:
            if not reader.whole:
                reader.feed(piece)
        if ends:
            reader.end()
    except ExchangeError:
        return None
    if not reader.whole:
        return None
    reply = reader.take_reply()
    return reply.status, reply.body, reply.retry_after, reply.date


def without_length(stream: bytes) -> bytes:
    """The same reply, whose body ends with the connection."""
    head, _, body = stream.partition(b"\r\n\r\n")
    return b"\r\n".join(line for line in head.split(b"\r\n") if b"content-length" not in line) + b"\r\n\r\n" + body


def test_a_lifecycle_was_recorded() -> None:
    assert {name.split(" ")[0] for name in REPLIES} == {"GET", "POST", "DELETE"}
    assert {name.split(" ")[-1] for name in REPLIES} >= {"200", "201", "204", "401", "404", "429", "500", "502", "503"}


@pytest.mark.parametrize("name", REPLIES)
def test_a_recorded_reply_is_read_as_h11_reads_it(name: str) -> None:
    expected = reference(REPLIES[name], closes=False, limit=LIMIT)
    assert expected is not None
    assert str(expected[0]) == name.split(" ")[-1]
    assert read([REPLIES[name]]) == expected


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("changed", [bytes, without_length, INTERIM.__add__])
@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_that_is_cut_at_any_byte_is_read_as_h11_reads_it(name: str, changed: object, ends: bool) -> None:
    stream: bytes = changed(REPLIES[name])  # type: ignore[operator]
    for at in range(len(stream)):
        expected = reference(stream[:at], closes=ends, limit=LIMIT)
        assert read([stream[:at]], ends=ends) == expected, stream[:at]


@pytest.mark.parametrize("name", REPLIES)
def test_the_pieces_in_which_a_reply_arrives_do_not_matter(name: str) -> None:
    """One or two cuts at any place, and pieces of any size."""
    stream = INTERIM + REPLIES[name]
    expected = read([stream])
    assert expected is not None
    for size in range(1, len(stream)):
        assert read(stream[at : at + size] for at in range(0, len(stream), size)) == expected
        assert read([stream[:size], stream[size:]]) == expected
    for first, second in itertools.combinations(range(0, len(stream), 7), 2):
        assert read([stream[:first], stream[first:second], stream[second:]]) == expected


def test_each_way_to_cut_a_chunked_reply_twice() -> None:
    expected = reference(CHUNKED, closes=False, limit=LIMIT)
    assert expected == (200, b"abcd", None, None)
    for first, second in itertools.combinations(range(len(CHUNKED)), 2):
        assert read([CHUNKED[:first], CHUNKED[first:second], CHUNKED[second:]]) == expected


def test_one_reader_reads_all_replies_one_after_the_other() -> None:
    reader = ReplyReader()
    for stream in REPLIES.values():
        assert read([stream], reader) == reference(stream, closes=False, limit=LIMIT)
        assert reader.keep_alive


@pytest.mark.parametrize("name", REPLIES)
def test_bytes_of_the_next_reply_in_the_same_packet_change_nothing_and_end_the_connection(name: str) -> None:
    stream = REPLIES[name]
    for extra in range(1, len(CHUNKED)):
        reader = ReplyReader()
        assert read([stream + CHUNKED[:extra]], reader) == read([stream])
        assert not reader.keep_alive


STRICTER = {
    "line without CR": b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n",
    "continued line": b"HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "control character": b"HTTP/1.1 200 OK\r\nX-A: a\x01b\r\nContent-Length: 0\r\n\r\n",
    "framing declared twice": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "blank after the coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
    "other version": b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
    "interim reply that closes": b"HTTP/1.1 103 A\r\nConnection: close\r\n\r\nHTTP/1.1 204 OK\r\n\r\n",
    "chunk extension": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;\x01\r\na\r\n0\r\n\r\n",
    "framing in a trailer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 3\r\n\r\n",
}


@pytest.mark.parametrize("rule", STRICTER)
def test_each_rule_by_which_the_agent_is_stricter_is_in_use(rule: str) -> None:
    stream = STRICTER[rule]
    assert reference(stream, closes=False, limit=LIMIT) is not None
    assert read([stream]) is None
    assert stricter_rule(stream) == rule


def test_an_interim_reply_of_http_1_0_closes_without_saying_so() -> None:
    stream = b"HTTP/1.0 102 A\r\n\r\nHTTP/1.1 204 OK\r\n\r\n"
    assert (read([stream]), stricter_rule(stream)) == (None, "interim reply that closes")
    stays = stream.replace(b"A\r\n", b"A\r\nConnection: keep-alive\r\n")
    assert (read([stays]), stricter_rule(stays)) == ((204, b"", None, None), None)


def test_no_such_rule_applies_to_a_reply_of_the_sandbox() -> None:
    assert [name for name, stream in REPLIES.items() if stricter_rule(INTERIM + stream)] == []
    assert stricter_rule(CHUNKED) is None
