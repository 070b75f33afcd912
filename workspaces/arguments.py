"""Arguments that more than one command takes."""

from argparse import ArgumentTypeError
from pathlib import Path


def text_or_file(text: str) -> str:
    """TEXT as it is, or what stands in FILE for @FILE."""
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ArgumentTypeError(f"{text[1:]} cannot be read as UTF-8 text: {error}") from error


def count(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
