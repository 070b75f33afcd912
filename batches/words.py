"""Numbers in sentences."""


def count(number: int, noun: str) -> str:
    """1 request, 9,997 requests: the noun is given in the singular and takes an s."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def say_size(size: int) -> str:
    """228 MB, 4.1 MB, 812 KB, 40 bytes."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if size >= unit:
            return f"{size / unit:,.{0 if size >= 10 * unit else 1}f} {name}"
    return f"{size / 1e3:,.0f} KB" if size >= 1_000 else count(size, "byte")
