import asyncio
import json
import random

import pytest

from streaming.snapshot import Snapshot, accumulate
from streaming.windows import Transcript, Window, encode_frame, read_frame
from tests.streaming.test_snapshot import TRANSCRIPTS, read

NAMES = sorted(path.stem for path in TRANSCRIPTS.glob("*.txt"))


def events_of(name: str) -> list:
    return asyncio.run(read((TRANSCRIPTS / f"{name}.txt").read_bytes()))


def fold(events: list) -> Snapshot:
    snapshot = Snapshot()
    for event in events:
        snapshot = accumulate(snapshot, event)
    return snapshot


def in_windows(events: list, cuts: random.Random) -> list:
    """The same events, merged in windows of random sizes, each through its frame."""
    window, merged = Window(), []
    for event in events:
        window.add(event)
        if cuts.random() < 0.3:
            merged += through_frame(window)
    return merged + through_frame(window)


def through_frame(window: Window) -> list:
    return read_frame(encode_frame(1, 0, 0, window.take()))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_merged_says_the_same(name):
    events = events_of(name)
    for seed in range(20):
        merged = in_windows(events, random.Random(seed))
        assert len(merged) <= len(events)
        assert fold(merged) == fold(events)


@pytest.mark.parametrize("name", NAMES)
def test_the_transcript_does_not_depend_on_the_windows(name):
    whole, cut = Transcript(), Transcript()
    events = events_of(name)
    for event in events:
        whole.add(event)
    for event in in_windows(events, random.Random(1)):
        cut.add(event)
    assert (whole.length, whole.digest) == (cut.length, cut.digest)


def test_a_hundred_deltas_are_one_event():
    events = [event for event in events_of("text") if event.type == "content_block_delta"]
    window = Window()
    for _ in range(100):
        window.add(events[0])
    (merged,) = window.take()
    assert merged.data["delta"]["text"] == 100 * events[0].data["delta"]["text"]
    assert events[0].data["delta"]["text"] in events[0].raw.decode()
    assert not window


def test_deltas_of_two_blocks_stay_apart():
    def delta(index: int) -> object:
        text = {"type": "text_delta", "text": "a"}
        data = {"type": "content_block_delta", "index": index, "delta": text}
        return next(iter(read_frame(json.dumps({"events": [data]}))))

    window = Window()
    for index in (0, 0, 1, 0):
        window.add(delta(index))
    assert [event.data["index"] for event in window.take()] == [0, 1, 0]


def test_the_length_is_what_a_browser_counts():
    transcript = Transcript()
    data = {"type": "content_block_delta", "index": 0}
    for kind, key, text in (
        ("text_delta", "text", "Grüße 🌊"),
        ("thinking_delta", "thinking", "山"),
        ("input_json_delta", "partial_json", '{"a"'),
        ("signature_delta", "signature", "not shown"),
    ):
        payload = {"events": [{**data, "delta": {"type": kind, key: text}}]}
        transcript.add(read_frame(json.dumps(payload))[0])
    assert transcript.length == 8 + 1 + 4
