import time

import pytest
from httpx_sse._decoders import SSEDecoder, SSELineDecoder
from hypothesis import given
from hypothesis import strategies as st

from claude_api import EventDecoder, Line, LineTooLong, split_jsonl, split_lines

MEBIBYTE = 2**20


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


def feed(chunks: list[bytes]) -> list[tuple[str, bytes]]:
    decoder = EventDecoder()
    return [tuple(event) for chunk in chunks for event in decoder.feed(chunk)]


def test_it_cuts_at_newlines_and_nowhere_else():
    text = '{"a":"one\u2028two\u2029three\u0085four\x0b\x0c\x1c"}\n{"b":"r\rr"}\n'
    lines = list(split_jsonl([text.encode()]))
    assert [line.decode() for line in lines] == text.split("\n")[:-1]


def test_a_record_may_be_cut_at_every_offset():
    data = '{"a":"é\u2028"}\r\n\n{"b":1}\n{"c":2}'.encode()
    whole = ['{"a":"é\u2028"}'.encode(), b'{"b":1}', b'{"c":2}']
    for offset in range(len(data) + 1):
        assert list(split_jsonl([data[:offset], data[offset:]])) == whole
    assert list(split_jsonl(cut(data, 1))) == whole


def test_lines_know_their_place():
    data = b"\n{1}\r\n   \n{22}\n\r\n{3}"
    lines = list(split_lines([data]))
    assert lines == [Line(2, 1, 3, b"{1}"), Line(4, 10, 4, b"{22}"), Line(6, 17, 3, b"{3}")]
    assert all(data[line.offset : line.offset + line.length] == line.data for line in lines)


@given(st.lists(st.sampled_from([b"\n", b"\r", b"a", b" ", b"\xe2\x80\xa8", b"bc"])), st.data())
def test_chunks_make_no_difference(parts, data):
    whole = b"".join(parts)
    size = data.draw(st.integers(1, 5))
    assert list(split_lines(cut(whole, size))) == list(split_lines([whole]))
    for line in split_lines([whole]):
        assert whole[line.offset : line.offset + line.length] == line.data


def test_nothing_gives_nothing():
    assert list(split_jsonl([])) == []
    assert list(split_jsonl([b"", b"\n", b""])) == []


def test_a_line_above_the_limit_is_named():
    with pytest.raises(LineTooLong, match=r"^Line 2 is longer than 4 bytes\.$") as caught:
        list(split_jsonl([b"1234\n12", b"345\n6\n"], limit=4))
    assert caught.value.number == 2


def test_lines_go_on_after_one_above_the_limit():
    lines = list(split_lines([b"1234\n12", b"34567", b"8\n6\n", b"12345"], limit=4))
    assert [(line.number, line.length, line.too_long) for line in lines] == [
        (1, 4, False),
        (2, 8, True),
        (3, 1, False),
        (4, 5, True),
    ]
    assert lines[2] == Line(3, 14, 1, b"6")


def test_a_line_of_20_mb_takes_no_longer_than_its_bytes():
    line = b"x" * 20 * MEBIBYTE
    started = time.process_time()
    assert list(split_jsonl(cut(line + b"\n", 64 * 1024))) == [line]
    assert time.process_time() - started < 1


def test_an_event_of_20_mb_takes_no_longer_than_its_bytes():
    data = b"x" * 20 * MEBIBYTE
    started = time.process_time()
    assert feed(cut(b"data: " + data + b"\n\n", 64 * 1024)) == [("message", data)]
    assert time.process_time() - started < 1


def test_an_event_above_the_limit_is_refused():
    decoder = EventDecoder(limit=100)
    assert decoder.feed(b"data: 1\n\n" * 50) == [("message", b"1")] * 50
    with pytest.raises(LineTooLong):
        [decoder.feed(b"data: 123456789\n") for _ in range(10)]


@pytest.mark.parametrize("newline", [b"\n", b"\r", b"\r\n"])
def test_events_may_be_cut_at_every_offset(newline):
    text = "\ufeff: hello\nevent: a\ndata: é\u2028\ndata:  two\nid: 7\n\nretry: 5\n\ndata\n\n"
    data = text.encode().replace(b"\n", newline) + b"event: never sent"
    expected = [("a", "é\u2028\n two".encode()), ("message", b"")]
    for offset in range(len(data) + 1):
        assert feed([data[:offset], data[offset:]]) == expected
    assert feed(cut(data, 1)) == expected


WHOLE_EVENTS = [
    "event: ping\ndata: x\n\n",
    "event: ping\ndata: x",
    "event: ping\ndata: a\ndata: b\n\n",
]
PARTS = ["\n", "\r", "\r\n", "data", "event", "id", "retry", ":", ": ", " ", "x", "é", "\u2028"]
PIECES = st.sampled_from([*WHOLE_EVENTS, *PARTS, "\n\n"])


@given(st.lists(PIECES, max_size=40), st.integers(1, 70))
def test_events_are_those_of_httpx_sse(pieces, size):
    text = "".join(pieces)
    assert feed(cut(text.encode(), size)) == ask_httpx_sse(text)


def ask_httpx_sse(text: str) -> list[tuple[str, bytes]]:
    """Its events, less those without any data line, which the specification does not send."""
    lines, decoder, events = SSELineDecoder(), SSEDecoder(), []
    # httpx-sse holds a last \r back until more comes; the NUL is a line that never ends.
    whole = lines.decode(text + "\x00") if text else []
    for line in whole:
        has_data = bool(decoder._data)
        event = decoder.decode(line)
        if event is not None and has_data:
            events.append((event.event, event.data.encode()))
    return events
