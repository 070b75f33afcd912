"""Numbers in sentences."""


def count(number: int, noun: str) -> str:
    """1 request, 9,997 requests: the noun is given in the singular and takes an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
