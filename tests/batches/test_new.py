from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.utils.html import strip_tags

from batches import archive, parsing
from batches.limits import Limits
from batches.models import Batch, Upload
from batches.starting import find_problems
from batches.views.new import EXAMPLE_RECIPE
from leases.clock import database_now
from tests.batches.stage import make_upload
from tests.cast import Cast

NEW = "/w/acme/batches/new/"
TABLE = b"id,text\n1,tea\n"


def text_of(response: HttpResponse) -> str:
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def send(client: Client, data: bytes = TABLE, name: str = "reviews.csv", **fields: object) -> Any:
    return client.post(NEW, {"file": SimpleUploadedFile(name, data), **fields})


def test_a_file_of_a_form_becomes_a_draft(cast: Cast) -> None:
    answer = send(cast.client(cast.bob))
    batch = Batch.objects.get()
    assert answer.headers["Location"] == f"/w/acme/batches/{batch.pk}/file/"
    assert (batch.name, batch.created_by, batch.state) == ("reviews", cast.bob, "draft")
    assert archive.received(batch.upload_id).read_bytes() == TABLE
    assert parsing.step(database_now())
    assert Upload.objects.get().state == "ready"


def test_the_page_says_what_happens_to_rows(cast: Cast) -> None:
    text = text_of(cast.client(cast.bob).get(NEW))
    assert "Drop a CSV, TSV or JSONL file here, or choose a file." in text
    assert "Any number of rows: Sluice splits at 100,000 rows or 256 MB." in text
    assert "kept there for up to 29 days" in text
    assert "Without JavaScript a file may have 8 MB." in text
    assert "Take an earlier file" not in text


def test_a_form_pressed_twice_is_one_draft(cast: Cast) -> None:
    client = cast.client(cast.bob)
    token = client.get(NEW).context["token"]
    assert send(client, token=token).url == send(client, token=token).url
    assert Batch.objects.count() == 1


def test_a_form_pressed_again_after_its_file_was_taken_for_another_draft(cast: Cast) -> None:
    client = cast.client(cast.bob)
    token = client.get(NEW).context["token"]
    first = send(client, token=token).url
    assert parsing.step(database_now())
    assert client.post(NEW, {"upload": Upload.objects.get().pk}).status_code == 302
    assert Batch.objects.count() == 2
    assert send(client, token=token).url == first
    Batch.objects.update(deleting_at=database_now())
    answer = send(client, token=token)
    assert answer.status_code == 422
    assert "The draft of this file was deleted." in text_of(answer)


@pytest.mark.both_databases
@pytest.mark.parametrize("token", ["", "\x00" * 20, "x" * 65, "short", "é" * 20])
def test_a_token_that_is_none(cast: Cast, token: str) -> None:
    assert send(cast.client(cast.bob), token=token).status_code == 302
    assert len(Upload.objects.get().token) == 22


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "Choose a file that is not empty."),
        (b"x" * (8 * 2**20 + 1), "Without JavaScript a file may have 8 MB."),
    ],
)
def test_a_form_with_a_bad_file(cast: Cast, data: bytes, sentence: str) -> None:
    answer = send(cast.client(cast.bob), data)
    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not Batch.objects.exists()


def test_a_form_without_a_file(cast: Cast) -> None:
    answer = cast.client(cast.bob).post(NEW)
    assert answer.status_code == 422
    assert "Choose a file" in text_of(answer)


def test_the_example_is_filled_in(cast: Cast) -> None:
    client = cast.client(cast.bob)
    answer = client.post(NEW, {"example": "1"})
    batch = Batch.objects.get()
    assert answer.headers["Location"] == f"/w/acme/batches/{batch.pk}/file/"
    assert batch.selection == {"part_size": 50}
    assert batch.created_by == cast.bob
    parsing.step(database_now())
    upload = Upload.objects.get()
    assert (upload.state, upload.rows, upload.problem_rows) == ("ready", 200, 1)
    # Two rows are broken on purpose, and nothing else keeps a row from being sent.
    problems = list(find_problems(upload, EXAMPLE_RECIPE, Limits()))
    assert [problem.row for problem in problems] == [98, 144]
    assert batch.recipe["id_column"] == "id"


def test_an_earlier_file_is_taken_again(cast: Cast) -> None:
    upload = make_upload(cast.workspace, ["one"])
    old = Batch.objects.create(
        workspace=cast.workspace, upload=upload, name="Old", recipe={"model": "m", "prompt": "p"}
    )
    client = cast.client(cast.bob)
    page = client.get(f"{NEW}?recipe={old.pk}")
    assert "rows.csv" in text_of(page)
    assert f"The recipe of #{old.pk} Old comes along." in text_of(page)
    client.post(NEW, {"upload": upload.pk, "recipe": old.pk})
    batch = Batch.objects.latest("pk")
    assert (batch.upload, batch.recipe, batch.name) == (upload, old.recipe, "rows")
    assert Upload.objects.count() == 1


def test_earlier_files_are_the_last_five_that_were_read_here(cast: Cast) -> None:
    for number in range(7):
        upload = make_upload(cast.workspace, ["one"])
        Upload.objects.filter(pk=upload.pk).update(filename=f"file-{number}.csv")
    again = make_upload(cast.workspace, ["one"])
    same = {"filename": "file-6.csv", "sha256": Upload.objects.get(filename="file-6.csv").sha256}
    Upload.objects.filter(pk=again.pk).update(**same)
    make_upload(cast.other, ["theirs"])
    shown = cast.client(cast.bob).get(NEW).context["earlier"]
    assert [upload.filename for upload in shown] == [f"file-{n}.csv" for n in (6, 5, 4, 3, 2)]


def test_files_and_recipes_of_others_are_not_taken(cast: Cast) -> None:
    theirs = make_upload(cast.other, ["one"])
    recipe = Batch.objects.create(
        workspace=cast.other, name="Secret", recipe={"model": "m", "prompt": "p"}
    )
    client = cast.client(cast.bob)
    assert client.post(NEW, {"upload": theirs.pk}).status_code == 404
    assert "Secret" not in text_of(client.get(f"{NEW}?recipe={recipe.pk}"))
    send(client, recipe=recipe.pk)
    assert Batch.objects.latest("pk").recipe == {}


@pytest.mark.parametrize("query", ["?recipe=x", "?recipe=", "?recipe=" + "9" * 40, "?recipe=²"])
def test_a_recipe_that_is_none_is_left_aside(cast: Cast, query: str) -> None:
    assert cast.client(cast.bob).get(f"{NEW}{query}").status_code == 200


@pytest.mark.parametrize("upload", ["x", "", "0", "9" * 40])
def test_an_earlier_file_that_is_none(cast: Cast, upload: str) -> None:
    answer = cast.client(cast.bob).post(NEW, {"upload": upload})
    assert answer.status_code in (404, 422)


def test_viewers_make_no_drafts(cast: Cast) -> None:
    client = cast.client(cast.vera)
    page = client.get(NEW)
    assert page.status_code == 403
    assert "Ask an owner: alice." in text_of(page)
    assert client.post(NEW, {"example": "1"}).status_code == 403
    assert send(client).status_code == 403
    assert not Batch.objects.exists()


def test_names_are_text(cast: Cast) -> None:
    send(cast.client(cast.bob), name="<img src=x onerror=alert(1)>.csv")
    parsing.step(database_now())
    page = cast.client(cast.bob).get(NEW).content.decode()
    assert "<img" not in page
    assert "&lt;img src=x" in page
