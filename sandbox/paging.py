"""Pages as the API's lists have them: newest first, a cursor in either direction."""

from typing import Any, NamedTuple

from aiohttp import web

from sandbox.errors import invalid

FEWEST, DEFAULT, MOST = 1, 20, 1000


class Cursor(NamedTuple):
    limit: int
    after_id: str | None
    before_id: str | None


def read_cursor(request: web.Request) -> Cursor:
    """The API does not document two cursors at once: here they are 400."""
    after_id, before_id = request.query.get("after_id"), request.query.get("before_id")
    if after_id and before_id:
        raise invalid("Only one of before_id and after_id can be specified.")
    return Cursor(_limit(request.query.get("limit", str(DEFAULT))), after_id, before_id)


def _limit(text: str) -> int:
    try:
        limit = int(text)
    except ValueError:
        raise invalid("limit: Input should be a valid integer") from None
    if limit < FEWEST:
        raise invalid(f"limit: Input should be greater than or equal to {FEWEST}")
    if limit > MOST:
        raise invalid(f"limit: Input should be less than or equal to {MOST}")
    return limit


class Window(NamedTuple):
    """Positions from `start` up to `end` in a list that is *oldest* first."""

    start: int
    end: int
    has_more: bool


def window(count: int, limit: int, after: int | None, before: int | None) -> Window:
    """`after` and `before` are the positions of the cursors.

    Without a cursor the newest; after one the next older; before one the newer that are nearest
    to it. `has_more` speaks of the same direction.
    """
    if before is not None:
        start = before + 1
        return Window(start, min(start + limit, count), start + limit < count)
    end = count if after is None else after
    return Window(max(0, end - limit), end, end > limit)


def envelope(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    return {
        "data": data,
        "has_more": has_more,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
    }
