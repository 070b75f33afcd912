import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox import splitting
from sandbox.errors import ApiError, TooLargeError
from sandbox.splitting import Splitter, decode

TEXT = st.text(alphabet=st.sampled_from('ab"\\{}[]:, \n\u2028中requests'), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def split(body: bytes) -> tuple[list[Any], Any]:
    splitter = Splitter(io.BytesIO(body))
    elements = [decode(element) for element in splitter.elements()]
    return elements, splitter.envelope()


class Trickle(io.BytesIO):
    """A file that gives three bytes at a time, so that every cut is tried."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(3)


def test_it_works() -> None:
    elements, envelope = split(b'{"a": [{}], "requests": [{"x": [1]}, 7, [2]], "b": {"c": []}}')
    assert elements == [{"x": [1]}, [2]]
    assert envelope == {"a": [{}], "requests": [{}, 7, {}], "b": {"c": []}}


@settings(deadline=None)
@given(st.dictionaries(TEXT, VALUES, max_size=2), st.lists(VALUES, max_size=4), st.booleans())
def test_it_agrees_with_decoding_the_whole(
    around: dict[str, Any], requests: list[Any], pretty: bool
) -> None:
    whole = {**around, "requests": requests}
    body = json.dumps(whole, indent=2 if pretty else None, ensure_ascii=pretty).encode()
    splitter = Splitter(Trickle(body))
    elements = [decode(element) for element in splitter.elements()]
    nested = [value for value in requests if isinstance(value, dict | list)]
    left = [{} if isinstance(value, dict | list) else value for value in requests]
    assert elements == nested
    assert splitter.envelope() == {**whole, "requests": left}


@settings(deadline=None)
@given(VALUES, st.integers(0, 60))
def test_a_body_that_breaks_off_is_never_accepted(value: Any, cut: int) -> None:
    body = json.dumps({"requests": [value, {"x": 1}]}).encode()
    with pytest.raises(ApiError, match="not valid JSON"):
        split(body[: min(cut, len(body) - 1)])


def test_a_string_far_longer_than_a_block() -> None:
    text = "中\\n" * (splitting.BLOCK // 2)
    elements, _ = split(json.dumps({"requests": [{"text": text}]}).encode())
    assert elements == [{"text": text}]


def test_one_request_is_no_longer_than_a_message_may_be() -> None:
    body = b'{"requests": [{"text": "' + b"x" * (splitting.ELEMENT_LIMIT + splitting.BLOCK)
    with pytest.raises(TooLargeError):
        split(body)


def test_what_stands_around_the_requests_is_bounded() -> None:
    with pytest.raises(ApiError, match="no requests"):
        split(b'{"other": ' + b" " * splitting.SKELETON_LIMIT)
