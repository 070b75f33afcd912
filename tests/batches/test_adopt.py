"""The page of batches made elsewhere, and every page of one that was adopted."""

import re
from typing import Any

import msgspec
import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse

from batches import adopting, archive, deleting, matching
from batches.adopted_rows import write_requests
from batches.exporting import export
from batches.indexing import count_index, scan, write_index
from batches.models import Batch, Listing, Match, MessageBatch
from leases.renewing import Renewal
from tests.batches.stage import MINUTE, make_batch, make_part, make_upload, now, remote, result_line
from tests.cast import Cast
from workspaces.models import ApiKey, Event

pytestmark = pytest.mark.django_db
NAMES = ["r1", "r2", "r10"]


@pytest.fixture
def key(cast: Cast, settings: Any) -> ApiKey:
    settings.SANDBOX_URL = "http://127.0.0.1:9"
    return ApiKey.seal(cast.workspace, "sandbox", "sk-ant-acme-key")


def listed(cast: Cast, key: ApiKey, *remotes: dict[str, Any], **changes: Any) -> Listing:
    """What a worker leaves once it has looked."""
    shown = [msgspec.convert(one, adopting.RemoteBatch, strict=False) for one in remotes]
    found = msgspec.to_builtins([adopting.Found.of(one) for one in shown])
    done = {"state": "done", "listed_at": now(), "seen": len(found), "found": found}
    place = {"api": key.api, "account": key.account()}
    return Listing.objects.create(workspace=cast.workspace, **{**done, **place, **changes})


def url(cast: Cast, view: str = "adopt", **arguments: Any) -> str:
    return reverse(f"batches:{view}", kwargs={"slug": cast.workspace.slug, **arguments})


def get(cast: Cast, who: Any = None, **query: Any) -> str:
    response = cast.client(who or cast.bob).get(url(cast), query)
    assert response.status_code == 200
    return response.content.decode()


def post(cast: Cast, **data: Any) -> Any:
    return cast.client(cast.bob).post(url(cast), data)


def adopt_answered(cast: Cast, key: ApiKey, names: list[str] = NAMES) -> Batch:
    """Adopted, and collected as a worker does it."""
    listed(cast, key, remote("msgbatch_1", len(names), "ended"))
    assert post(cast, id="msgbatch_1").status_code == 302
    part = MessageBatch.objects.get(message_batch_id="msgbatch_1")
    with archive.writing(archive.results(part.pk, 1)) as file:
        file.writelines(
            result_line(name, "errored" if name == "r2" else "succeeded") for name in names
        )
    MessageBatch.objects.filter(pk=part.pk).update(
        results_fence=1, lease_until=now() + MINUTE, proven_at=now(), stored_at=now()
    )
    part.refresh_from_db()
    renewal = Renewal(part)
    write_requests(part, list(enumerate(names, 1)), renewal)
    totals = write_index(part, scan(part), renewal) | count_index(part)
    assert part.release_as("stored", None, event="All are here.", **totals)
    Listing.objects.all().delete()
    return Batch.objects.get(pk=part.batch_id)


def test_it_works(cast: Cast, key: ApiKey) -> None:
    page = get(cast)
    assert "Nobody has looked yet." in page
    assert post(cast, look="1").status_code == 302
    listing = Listing.objects.get()
    assert (listing.state, listing.asked_by, listing.due_at is None) == ("listing", cast.bob, False)
    assert "Looking at the API…" in get(cast)
    listing.delete()
    listed(cast, key, remote("msgbatch_2", 7), remote("msgbatch_1", 1_234, "ended"))
    page = get(cast)
    assert page.index("msgbatch_2") < page.index("msgbatch_1")
    assert "1,234" in page
    response = post(cast, id="msgbatch_1")
    batch = Batch.objects.get()
    assert response.headers["Location"] == url(cast, "overview", batch=batch.pk)
    assert (batch.created_by, batch.rows, batch.state) == (cast.bob, 1_234, "collecting")
    event = Event.objects.get(verb="adopted")
    assert event.actor == cast.bob
    assert event.sentence == "msgbatch_1 was adopted: 1,234 requests, made elsewhere."
    assert "msgbatch_1" not in get(cast)
    assert "/adopt/" in cast.client(cast.bob).get(url(cast, "batches")).content.decode()
    assert "/adopt/" in cast.client(cast.bob).get(url(cast, "new")).content.decode()


def test_each_line_says_its_state_at_every_width(cast: Cast, key: ApiKey) -> None:
    running, canceling = remote("msgbatch_1"), remote("msgbatch_2", status="canceling")
    listed(cast, key, running, canceling, remote("msgbatch_3", status="ended"))
    lines = get(cast).split("<tbody>")[1].split("</tr>")
    for line, said in zip(lines, ("In progress", "Canceling", "Ended"), strict=False):
        assert f"</svg>{said}</span>" in " ".join(line.split()).replace("> ", ">")
        assert f'<small class="narrow">{said} · ' in line


def test_several_at_once(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, remote("msgbatch_2"), remote("msgbatch_1"))
    response = post(cast, id=["msgbatch_1", "msgbatch_2", "msgbatch_1"])
    assert response.headers["Location"] == url(cast, "batches")
    assert Batch.objects.count() == 2


def test_a_viewer_reads_and_a_stranger_does_not(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, remote("msgbatch_1"))
    page = get(cast, cast.vera)
    assert "msgbatch_1" in page
    assert "A member can adopt them." in page
    assert "<button" not in page.split("<main")[1].split("</main>")[0]
    assert cast.client(cast.vera).post(url(cast), {"id": "msgbatch_1"}).status_code == 403
    assert cast.client(cast.charlie).get(url(cast)).status_code == 404
    assert not Batch.objects.exists()


def test_bad_input(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, remote("msgbatch_1"))
    response = post(cast)
    assert response.status_code == 422
    assert "Choose what to adopt." in response.content.decode()
    response = post(cast, id=["msgbatch_1", "msgbatch_9<b>"])
    page = response.content.decode()
    assert response.status_code == 422
    assert "msgbatch_9&lt;b&gt; is not on the list any more." in page
    assert f"#{Batch.objects.get().pk} Made elsewhere" in page
    assert get(cast, **{"from": "x"})
    assert get(cast, **{"from": "999999"})


def test_without_a_key_it_says_so(cast: Cast) -> None:
    assert "has no API key" in get(cast)
    response = post(cast, look="1")
    assert response.status_code == 422
    assert not Listing.objects.exists()


def test_a_refusal_is_shown(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, state="refused", reason="invalid x-api-key (request req_1).")
    assert "invalid x-api-key (request req_1)." in get(cast)
    assert post(cast, look="1").status_code == 302
    assert Listing.objects.get().state == "listing"


def test_nothing_found(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, seen=12)
    assert "Nothing was made elsewhere." in get(cast)


def test_what_is_a_part_of_ours_is_said(cast: Cast, key: ApiKey) -> None:
    part = make_part(make_batch(cast.workspace), 3)
    unknown = make_part(make_batch(cast.workspace), 4, "unknown")
    listing = listed(cast, key, remote("msgbatch_1", 3, "ended"), looked_for=[unknown.pk])
    listing.found[0]["part"] = part.pk
    listing.save()
    page = get(cast)
    assert re.search(
        rf"This is part 1 of <a [^>]*>#{part.batch_id} Themes</a>: adopted, it is", page
    )
    assert f"#{unknown.batch_id} Themes</a> is looked for" in page
    assert post(cast, id="msgbatch_1").status_code == 302
    part.refresh_from_db()
    assert (part.state, part.adopt_id, part.adopt_asked_by) == ("dropped", "msgbatch_1", cast.bob)


def test_what_cannot_be_adopted_has_no_box(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, remote("msgbatch_1", 3, "ended") | {"archived_at": now().isoformat()})
    page = get(cast)
    assert "Its results are deleted." in page
    assert 'value="msgbatch_1"' not in page


def test_pages(cast: Cast, key: ApiKey) -> None:
    listed(cast, key, *(remote(f"msgbatch_{number:03}") for number in range(150, 0, -1)))
    first, second = get(cast), get(cast, **{"from": "100"})
    assert "msgbatch_051" in first
    assert "msgbatch_050" not in first
    assert "msgbatch_050" in second
    assert "msgbatch_051" not in second


def test_the_list_keeps_itself_fresh_while_a_worker_looks(cast: Cast, key: ApiKey) -> None:
    listing = listed(cast, key, state="listing", seen=1_000, due_at=now())
    client = cast.client(cast.vera)
    page = client.get(url(cast)).content.decode()
    again = re.search(r'hx-get="([^"]*/adopt/live/[^"]*)"', page)
    assert again
    assert "1000 batches so far" in page
    address = again[1].replace("&amp;", "&")
    assert client.get(address).status_code == 204
    listing.seen = 2_000
    listing.save()
    assert "2000 batches so far" in client.get(address).content.decode()
    Listing.objects.update(state="done")
    assert client.get(address).headers["HX-Refresh"] == "true"


def test_every_page_of_an_adopted_batch(cast: Cast, key: ApiKey) -> None:
    batch = adopt_answered(cast, key)
    for user in (cast.bob, cast.vera):
        client = cast.client(user)
        for view in ("overview", "results", "problems", "recipe", "file", "activity", "export"):
            response = client.get(url(cast, view, batch=batch.pk))
            assert response.status_code == 200, view
            page = response.content.decode()
            for control in ("retry", "reuse", "review"):
                assert f"/batches/{batch.pk}/{control}/" not in page, (view, control)
        failed = client.get(url(cast, "result", batch=batch.pk, row=2)).content.decode()
        assert "too long" in failed
        assert "/retry/" not in failed
        row = client.get(url(cast, "result", batch=batch.pk, row=3)).content.decode()
        assert "r10" in row
        assert "yes" in row
        assert "As it was sent" not in row
        assert "its request is not known" in row
    client = cast.client(cast.bob)
    assert (
        "nothing of it can be retried"
        in client.get(url(cast, "overview", batch=batch.pk)).content.decode()
    )
    assert (
        "it was not made here" in client.get(url(cast, "recipe", batch=batch.pk)).content.decode()
    )
    lines = b"".join(export(batch, "csv")).decode().splitlines()
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["r1", "succeeded", "yes"],
        ["r2", "errored", ""],
        ["r10", "succeeded", "yes"],
    ]
    assert b"".join(export(batch, "jsonl")).count(b'"custom_id":"r') == 3
    assert client.get(url(cast, "download", batch=batch.pk)).status_code == 200
    part = batch.message_batches.get()
    assert client.get(url(cast, "part", batch=batch.pk, part=part.pk)).status_code == 200
    assert client.post(url(cast, "rename", batch=batch.pk), {"name": "Ours"}).status_code == 302
    assert client.get(url(cast, "delete", batch=batch.pk)).status_code == 200
    assert client.get(url(cast, "cancel", batch=batch.pk)).status_code == 200
    assert client.get(url(cast, "batches")).status_code == 200
    assert client.get(url(cast, "home")).status_code == 200
    assert "r10" in client.get(url(cast, "results", batch=batch.pk), {"q": "r10"}).content.decode()


def test_what_an_adopted_batch_has_not_cannot_be_asked_for(cast: Cast, key: ApiKey) -> None:
    batch = adopt_answered(cast, key)
    client = cast.client(cast.bob)
    client.post(url(cast, "review", batch=batch.pk), {"send": "1"})
    client.post(url(cast, "retry", batch=batch.pk), {"row": "1", "token": "one"})
    client.post(url(cast, "file", batch=batch.pk), {"replace": "1"})
    page = client.get(url(cast, "retry", batch=batch.pk), {"row": "2"}).content.decode()
    assert "This batch was not made here" in page
    client.get(url(cast, "retry_recipe", batch=batch.pk))
    client.post(url(cast, "retry_recipe", batch=batch.pk), {"prompt": "{{text}}"})
    batch.refresh_from_db()
    assert not batch.runs.exists()
    assert (batch.state, batch.upload, batch.sent) == ("ended", None, 3)


def test_the_file_that_fits_is_offered_and_shown(cast: Cast, key: ApiKey) -> None:
    upload = make_upload(cast.workspace, ["r10", "r2", "r1"])
    batch = adopt_answered(cast, key)
    overview = url(cast, "overview", batch=batch.pk)
    client = cast.client(cast.bob)
    assert "/match/live/" in client.get(overview).content.decode()
    Match.objects.update(state="fits", upload=upload, column="text")
    assert "Its ids fit rows.csv (3 of 3)." in client.get(overview).content.decode()
    assert "A member can show" in cast.client(cast.vera).get(overview).content.decode()
    place = url(cast, "match", batch=batch.pk)
    assert "Show the answers beside rows.csv?" in client.get(place).content.decode()
    assert client.post(place).status_code == 302
    assert client.post(place).status_code == 409
    assert "being numbered" in client.get(url(cast, "export", batch=batch.pk)).content.decode()
    assert Match.objects.get().state == "confirmed"
    assert Event.objects.filter(verb="match", actor=cast.bob).count() == 1
    row = Match.objects.select_related("upload").get()
    part = batch.message_batches.get()
    assert matching.numbers_of(row, part) == [(2, "r10"), (3, "r2"), (4, "r1")]


def test_an_adopted_batch_beside_its_file(cast: Cast, key: ApiKey) -> None:
    upload = make_upload(cast.workspace, ["r1", "r2", "r10", "more"])
    batch = adopt_answered(cast, key)
    Batch.objects.filter(pk=batch.pk).update(upload=upload)
    Match.objects.update(state="shown", upload=upload)
    client = cast.client(cast.bob)
    for view in ("overview", "problems"):
        page = client.get(url(cast, view, batch=batch.pk)).content.decode()
        assert "nothing of it can be retried" in page
    for view in ("overview", "results", "problems", "recipe", "file", "activity", "export"):
        page = client.get(url(cast, view, batch=batch.pk)).content.decode()
        for control in ("retry", "review"):
            assert f"/batches/{batch.pk}/{control}/" not in page, (view, control)
        assert "Replace the file" not in page
    client.post(url(cast, "review", batch=batch.pk), {"send": "1"})
    assert client.post(url(cast, "file", batch=batch.pk), {"read": "1"}).status_code == 422
    client.post(url(cast, "retry", batch=batch.pk), {"row": "3", "token": "one"})
    client.post(url(cast, "retry", batch=batch.pk), {"type": "errored", "token": "two"})
    client.get(url(cast, "retry_recipe", batch=batch.pk))
    client.post(url(cast, "retry_recipe", batch=batch.pk), {"prompt": "{{text}}"})
    page = client.get(url(cast, "retry", batch=batch.pk), {"type": "errored"}).content.decode()
    assert "This batch was not made here" in page
    assert "No row is left to send." not in page
    with pytest.raises(CommandError, match="was not made here"):
        call_command("retry_batch", batch.pk, type=["errored"], yes=True)
    assert not batch.runs.exists()


def test_it_is_deleted_and_may_be_adopted_again(cast: Cast, key: ApiKey) -> None:
    upload = make_upload(cast.workspace, ["r1"])
    batch = adopt_answered(cast, key)
    Match.objects.update(state="fits", upload=upload)
    assert deleting.request_delete(batch, now())
    while deleting.step(now() + MINUTE):
        pass
    assert not Batch.objects.exists()
    assert not Match.objects.exists()
    listed(cast, key, remote("msgbatch_1", 3, "ended"))
    assert "msgbatch_1" in get(cast)
