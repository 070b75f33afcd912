from datetime import UTC, datetime
from html import unescape

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.html import strip_tags

from batches.models import Batch
from tests.batches.stage import make_batch, make_part
from tests.cast import Cast
from workspaces.models import Workspace

NOON = datetime(2026, 10, 14, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 10, 14, 23, 30, tzinfo=UTC)


def a_batch(cast: Cast) -> Batch:
    batch = make_batch(cast.workspace, ["one"])
    make_part(batch, 1)
    return batch


def text_of(cast: Cast, batch: Batch, query: str = "") -> str:
    page = cast.client(cast.vera).get(f"/w/acme/batches/{batch.pk}/activity/{query}")
    assert page.status_code == 200
    return " ".join(unescape(strip_tags(page.content.decode().replace("<", " <"))).split())


def test_it_tells_the_story_newest_first(cast: Cast) -> None:
    batch = a_batch(cast)
    batch.record("run", "9,997 requests were sent off.", actor=cast.bob, at=NOON)
    batch.record("submitted", "Part 1 was sent: msgbatch_01Ac.", at=MIDNIGHT)
    text = text_of(cast, batch)
    assert "Wednesday, 14 October 2026 23:30:00 worker Part 1 was sent: msgbatch_01Ac." in text
    assert "12:00:00 bob 9,997 requests were sent off." in text
    assert text.index("Part 1 was sent") < text.index("9,997 requests")


def test_days_are_those_of_the_workspace(cast: Cast) -> None:
    Workspace.objects.filter(pk=cast.workspace.pk).update(timezone="Asia/Tokyo")
    batch = a_batch(cast)
    batch.record("submitted", "Part 1 was sent.", at=MIDNIGHT)
    assert "Thursday, 15 October 2026" in text_of(cast, batch)


def test_a_long_story_comes_by_the_page(cast: Cast) -> None:
    batch = a_batch(cast)
    for number in range(150):
        batch.record("submitted", f"Event {number}.", at=NOON)
    client = cast.client(cast.vera)
    url = f"/w/acme/batches/{batch.pk}/activity/"
    first = client.get(url)
    assert "Event 149." in first.content.decode()
    assert "Event 49." not in first.content.decode()
    second = client.get(url, {"before": first.context["older"]}).content.decode()
    assert "Event 49." in second
    assert "Event 50." not in second
    assert "Nothing happened before." in text_of(cast, batch, "?before=1")
    assert "Event 149." in text_of(cast, batch, "?before=x")


def test_a_batch_without_a_story_says_so(cast: Cast) -> None:
    assert "What happens to this batch is written here." in text_of(cast, a_batch(cast))


def test_what_happened_is_text(cast: Cast) -> None:
    batch = a_batch(cast)
    batch.record("renamed", "Renamed to <img src=x>.")
    page = cast.client(cast.vera).get(f"/w/acme/batches/{batch.pk}/activity/").content.decode()
    assert "<img" not in page


def test_a_hundred_events_cost_as_many_queries_as_one(cast: Cast) -> None:
    batch = a_batch(cast)
    client = cast.client(cast.vera)

    def queries(events: int) -> int:
        for _ in range(events):
            batch.record("submitted", "Sent.", actor=cast.bob)
        client.get(f"/w/acme/batches/{batch.pk}/activity/")
        with CaptureQueriesContext(connection) as found:
            client.get(f"/w/acme/batches/{batch.pk}/activity/")
        return len(found)

    assert queries(1) == queries(90)


def test_strangers_find_nothing(cast: Cast) -> None:
    url = f"/w/acme/batches/{a_batch(cast).pk}/activity/"
    assert cast.client(cast.charlie).get(url).status_code == 404
