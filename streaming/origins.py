"""Where a conversation came from: an address of ours, with what it is called."""

import re
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from django.urls import Resolver404, resolve

MOST = 300
_RELATIVE = re.compile(r"/w/[-\w]+/[\w/?=&.,%+-]*")


class Origin(NamedTuple):
    url: str
    name: str
    back: str

    @classmethod
    def of(cls, url: str) -> "Origin | None":
        """None for an empty address, and for what is none of this installation."""
        parts = urlsplit(url)
        try:
            match = resolve(parts.path) if url else None
        except Resolver404:
            return None
        if match is None:
            return None
        batch = match.kwargs.get("batch")
        row = match.kwargs.get("row") or parse_qs(parts.query).get("row", [""])[0]
        named = [f"Row {int(row):,}"] if str(row).isdecimal() else []
        named += [f"of #{batch}"] if batch else []
        place = {"recipe": "Back to the recipe", "result": "Back to the row"}
        return cls(url, " ".join(named), place.get(match.url_name or "", "Back"))


def clean_origin(text: str, slug: str) -> str:
    """An address within this workspace as it is; empty for every other."""
    sound = len(text) <= MOST and _RELATIVE.fullmatch(text) and text.startswith(f"/w/{slug}/")
    return text if sound else ""
