"""Identifiers in the API's style: a prefix, `01`, and 22 base62 characters."""

import base64
import hashlib
import secrets
import string

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
LENGTH = 22


def drawn(prefix: str) -> str:
    """A fresh identifier, for what happens once."""
    return f"{prefix}_01" + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def derived(prefix: str, *sources: str | bytes) -> str:
    """The same identifier for the same sources, for what is written anew each time it is read."""
    encoded = base64.b64encode(_hash(sources), altchars=b"xX").decode()
    return f"{prefix}_01{encoded[:LENGTH]}"


def digest(*sources: str | bytes) -> int:
    """A 160-bit number that depends on the sources alone."""
    return int.from_bytes(_hash(sources), "big")


def _hash(sources: tuple[str | bytes, ...]) -> bytes:
    state = hashlib.blake2b(digest_size=20)
    for source in sources:
        state.update(source.encode() if isinstance(source, str) else source)
        state.update(b"\0")
    return state.digest()
