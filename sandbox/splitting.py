"""A body of any size becomes the elements of its `requests` array, in bounded memory."""

import re
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec

from sandbox.errors import TooLargeError, invalid

BLOCK = 1 << 20
SKELETON_LIMIT = 16 << 20
# A message request has at most 32 MB. What the API does with a larger one in a batch is not
# documented; here the create is refused, for it bounds what must be held in memory.
ELEMENT_LIMIT = 32 << 20
# Everything that is not a bracket: whole strings (a bracket inside one is text), and the rest.
# The outermost repeat is not possessive: before Python 3.11.4 such a group eats an open string.
RUN = re.compile(rb'(?:[^"{}\[\]]++|"(?:[^"\\]++|\\.)*+")*', re.DOTALL)
REQUESTS_KEY = re.compile(rb'"requests"\s*:\s*\Z')
OPENING = b"{["


class Splitter:
    """Cuts the elements out and keeps what stands around them.

    In what is kept, the *skeleton*, `{}` stands where an element was, so that decoding the
    skeleton and each element alone proves the same as decoding the whole body.
    """

    def __init__(self, body: BinaryIO) -> None:
        self.body = body
        self.buffer = b""
        self.position = 0
        self.start: int | None = None
        self.depth = 0
        self.inside = False
        self.skeleton = bytearray()

    def elements(self) -> Iterator[bytes]:
        """The bytes of every object or list directly inside the top-level `requests` array."""
        while self._next_bracket():
            bracket = self.buffer[self.position]
            opening = bracket in OPENING
            if opening and self.inside and self.depth == 2:
                self.start = self.position
            if opening and self.depth == 1 and REQUESTS_KEY.search(self.skeleton[-1000:]):
                self.inside = True
            self.depth += 1 if opening else -1
            self.position += 1
            if self.start is None:
                self._keep(bytes([bracket]))
            elif self.depth == 2:
                yield self.buffer[self.start : self.position]
                self.start = None
                self._keep(b"{}")
            if self.depth < 2:
                self.inside = False

    def envelope(self) -> Any:
        """The decoded skeleton, once the elements are exhausted."""
        return decode(bytes(self.skeleton))

    def _next_bracket(self) -> bool:
        """Moves to the next bracket outside of strings; False at the end of the body."""
        size = BLOCK
        while True:
            end = self._run()
            if end < len(self.buffer) and self.buffer[end] != ord('"'):
                return True
            if not self._read(size):
                self._keep(self.buffer[self._from() :])
                return False
            # A string longer than the block is looked at anew each time: doubling keeps the
            # work linear in its length.
            size *= 2

    def _run(self) -> int:
        match = RUN.match(self.buffer, self.position)
        assert match is not None  # the pattern matches the empty string
        if self.start is None:
            self._keep(match.group())
        self.position = match.end()
        return self.position

    def _from(self) -> int:
        return self.position if self.start is None else self.start

    def _read(self, size: int) -> bool:
        kept = self._from()
        if len(self.buffer) - kept > ELEMENT_LIMIT:
            raise TooLargeError
        block = self.body.read(size)
        self.buffer = self.buffer[kept:] + block
        self.position -= kept
        if self.start is not None:
            self.start = 0
        return bool(block)

    def _keep(self, part: bytes) -> None:
        self.skeleton += part
        if len(self.skeleton) > SKELETON_LIMIT:
            raise invalid("The request body is not valid JSON: no requests in its first 16 MB")


def decode(part: bytes) -> Any:
    try:
        return msgspec.json.decode(part)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The request body is not valid JSON: {error}") from error
