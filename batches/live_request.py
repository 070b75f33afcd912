"""The request of a row, as the form sends it that opens the row live."""

import secrets
from typing import NamedTuple

MOST = 2_000_000  # bytes


class LiveRequest(NamedTuple):
    """`text` is empty where the request is too large; `token` makes two presses one."""

    text: str
    token: str

    @classmethod
    def of(cls, data: bytes) -> "LiveRequest | None":
        """None where there is no request."""
        if not data:
            return None
        return cls(
            data.decode(errors="replace") if len(data) <= MOST else "", secrets.token_hex(16)
        )
