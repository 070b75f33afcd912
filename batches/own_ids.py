"""Whether the cells of a column are ids: each row has one, and no two the same."""

from typing import NamedTuple

from django.core.cache import cache

from batches import archive
from batches.models import Upload

# A larger file is looked at for the review, which reads all of it anyway: this takes half a second.
MOST_BYTES = 16_000_000
REMEMBERED = 7 * 24 * 3600


class OwnIds(NamedTuple):
    """Of the rows that can be read: values given more than once, and rows without any."""

    doubled: int
    empty: int


def count_own_ids(upload: Upload, column: str) -> OwnIds | None:
    """None where the file is too large to tell at once."""
    if upload.rows_fence is None or column not in upload.columns:
        return None
    if archive.size(archive.rows(upload.pk, upload.rows_fence)) > MOST_BYTES:
        return None
    place = upload.columns.index(column)
    # What is read is never read anew under the same fence.
    key = f"own-ids:{upload.pk}:{upload.rows_fence}:{place}"
    found = cache.get(key)
    if found is None:
        found = tuple(_count(upload.pk, upload.rows_fence, place))
        cache.set(key, found, REMEMBERED)
    return OwnIds(*found)


def _count(upload_id: int, fence: int, place: int) -> OwnIds:
    once: set[str] = set()
    again: set[str] = set()
    empty = 0
    for row in archive.iterate_rows(upload_id, fence):
        if row.reason:
            continue
        own_id = row.cells[place].strip()
        empty += not own_id
        (again if own_id in once else once).add(own_id)
    return OwnIds(len(again - {""}), empty)
