"""Secrets at rest. Fails closed: what cannot be decrypted, or is another workspace's, raises."""

from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class SecretUnreadable(Exception):
    """The stored secret does not open with the keys in SLUICE_ENCRYPTION_KEYS."""


@lru_cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def seal(workspace_id: int, secret: str) -> str:
    """The secret encrypted with the first key, its workspace's id inside."""
    fernet = _fernet(tuple(settings.ENCRYPTION_KEYS))
    return fernet.encrypt(f"{workspace_id}:{secret}".encode()).decode()


def unseal(workspace_id: int, token: str) -> str:
    try:
        opened = _fernet(tuple(settings.ENCRYPTION_KEYS)).decrypt(token.encode()).decode()
    except InvalidToken:
        raise SecretUnreadable(
            "The stored API key cannot be decrypted: SLUICE_ENCRYPTION_KEYS does not hold the "
            "key it was saved with. Put that key back, or save the API key again."
        ) from None
    owner, _, secret = opened.partition(":")
    if owner != str(workspace_id):
        raise SecretUnreadable("The stored API key belongs to another workspace.")
    return secret


def is_newest(token: str) -> bool:
    """Whether the token was made with the first key, so that `rotate_keys` has nothing to do."""
    try:
        _fernet((settings.ENCRYPTION_KEYS[0],)).decrypt(token.encode())
    except InvalidToken:
        return False
    return True
