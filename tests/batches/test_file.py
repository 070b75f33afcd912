import csv
import io
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import AsyncClient
from django.utils.html import strip_tags

from batches import archive, parsing, receiving, starting
from batches.models import Batch, Upload, Worker
from batches.receiving import Announcement
from leases.clock import database_now
from tests.batches.stage import make_batch as make_ready_batch
from tests.batches.stage import make_part
from tests.cast import Cast

TABLE = b"id;text\n1;caf\xc3\xa9\n\n2;tea\n"
BROKEN = b"id,text\n1,tea\n2,a,b\n3,c,d\n4,e\n"
REQUEST = (
    b'{"custom_id":"a-%d","params":{"model":"claude-haiku-4-5","max_tokens":9,'
    b'"messages":[{"role":"user","content":"<b>hi</b>"}]}}\n'
)


def make_draft(cast: Cast, data: bytes = TABLE, name: str = "reviews.csv", read: int = 1) -> Batch:
    at = database_now()
    file = Announcement(name, len(data), f"token-{Upload.objects.count():016}")
    upload = receiving.begin(file, cast.workspace, cast.bob, at)
    receiving.append(upload, 0, io.BytesIO(data), at)
    for _ in range(read):
        assert parsing.step(database_now())
    return Batch.objects.select_related("upload").get(upload=upload)


def url(batch: Batch, rest: str = "") -> str:
    return f"/w/acme/batches/{batch.pk}/file/{rest}"


def text_of(response: HttpResponse) -> str:
    return " ".join(unescape(strip_tags(response.content.decode())).split())


def test_it_shows_what_the_file_holds(cast: Cast) -> None:
    batch = make_draft(cast)
    page = cast.client(cast.bob).get(url(batch))
    text = text_of(page)
    assert "2 rows 2 columns 23 bytes" in text
    assert "Read as UTF-8: café. As Windows-1252 it would be cafÃ©." in text
    assert "text 100 % filled, longest 4" in text
    assert f'href="/w/acme/batches/{batch.pk}/recipe/" data-primary' in page.content.decode()
    assert [row.number for row in page.context["rows"]] == [2, 4]
    assert "cannot be sent" not in text


def test_a_row_is_shown_whole(cast: Cast) -> None:
    batch = make_draft(cast, BROKEN)
    client = cast.client(cast.vera)
    fragment = client.get(url(batch, "?row=3"), headers={"HX-Request": "true"})
    assert "Row 3 of reviews.csv" in text_of(fragment)
    assert "3 cells, the header has 2. An extra one is b." in text_of(fragment)
    assert "<html" not in fragment.content.decode()
    assert "Row 3 of reviews.csv" in text_of(client.get(url(batch, "?row=3")))
    assert "The file has no such row" in text_of(client.get(url(batch, "?row=" + "9" * 30)))
    assert client.get(url(batch, "?row=x")).status_code == 200


def test_problems_are_listed_and_wait_for_a_choice(cast: Cast) -> None:
    batch = make_draft(cast, BROKEN)
    client = cast.client(cast.bob)
    text = text_of(client.get(url(batch)))
    assert "2 rows cannot be sent" in text
    assert "Leave these 2 rows out and send 2" in text
    assert "Choose what happens to these 2 rows." in text
    refused = client.post(url(batch), {"continue": "1"})
    assert refused.status_code == 422
    assert "2 rows cannot be sent. Leave them out, or replace the file." in text_of(refused)
    fix = client.post(url(batch), {"continue": "1", "choice": "fix", "rows": "2"})
    assert fix.status_code == 422
    form = {"continue": "1", "choice": "leave_out", "rows": "2"}
    assert client.post(url(batch), form).url == f"/w/acme/batches/{batch.pk}/recipe/"
    batch.refresh_from_db()
    assert batch.leave_out == 2
    assert "Choose what" not in text_of(client.get(url(batch)))


def test_agreed_is_the_number_that_the_person_saw(cast: Cast) -> None:
    batch = make_draft(cast, BROKEN)
    form = {"continue": "1", "choice": "leave_out", "rows": "1"}
    assert cast.client(cast.bob).post(url(batch), form).status_code == 422
    batch.refresh_from_db()
    assert batch.leave_out == 0


def test_a_choice_is_saved_before_anything_is_pressed(cast: Cast) -> None:
    batch = make_draft(cast, BROKEN)
    saved = batch.saved_at
    client = cast.client(cast.bob)
    headers = {"HX-Request": "true"}
    form = {"choice": "leave_out", "rows": "2"}
    fragment = client.post(url(batch), form, headers=headers).content.decode()
    assert 'id="go-on" hx-swap-oob="true"' in fragment
    assert "aria-disabled" not in fragment
    assert 'id="saved" hx-swap-oob="true"' in fragment
    batch.refresh_from_db()
    assert batch.leave_out == 2
    assert batch.saved_at > saved
    fragment = client.post(url(batch), {"choice": "fix", "rows": "2"}, headers=headers)
    assert "Replace the file first." in text_of(fragment)
    batch.refresh_from_db()
    assert batch.leave_out == 0


def test_a_file_of_which_no_row_can_be_sent(cast: Cast) -> None:
    batch = make_draft(cast, b"a,b\n1,2,3\n")
    client = cast.client(cast.bob)
    assert "No row of this file can be sent." in text_of(client.get(url(batch)))
    form = {"continue": "1", "choice": "leave_out", "rows": "1"}
    assert client.post(url(batch), form).status_code == 422


def test_more_than_a_hundred_problems_are_counted_and_downloaded(cast: Cast) -> None:
    batch = make_draft(cast, b"id,text\n" + b"1,=a,+b\n" * 120 + b"2\n" * 3)
    page = cast.client(cast.vera).get(url(batch))
    assert "and 23 more of 2 kinds." in text_of(page)
    assert page.content.decode().count('<td class="figure row">') == 100


@pytest.mark.django_db(transaction=True)
async def test_all_problems_as_a_table(cast: Cast) -> None:
    from asgiref.sync import sync_to_async

    data = b"=id,text\n" + b"1,\0,b\n" * 120
    batch = await sync_to_async(make_draft)(cast, data)
    client = AsyncClient()
    await client.aforce_login(cast.vera)
    answer = await client.get(url(batch, "problems.csv"))
    assert f'filename="problems-{batch.pk}.csv"' in answer.headers["Content-Disposition"]
    body = b"".join([chunk async for chunk in answer]).decode("utf-8-sig")
    rows = list(csv.reader(io.StringIO(body)))
    assert rows[0] == ["row", "column", "problem", "what_to_do"]
    assert len(rows) == 241
    assert rows[1][0] == "2"
    await client.aforce_login(cast.charlie)
    assert (await client.get(url(batch, "problems.csv"))).status_code == 404


@pytest.mark.parametrize(
    ("state", "status", "sentence"),
    [
        ("ready", 404, "The list of problems is gone from the server. Read the file again."),
        ("queued", 409, "The problems are known once the file is read."),
    ],
)
def test_problems_that_are_not_there_are_no_table(
    cast: Cast, state: str, status: int, sentence: str
) -> None:
    batch = make_draft(cast, BROKEN)
    upload = batch.upload
    assert upload
    archive.problems(upload.pk, upload.rows_fence or 0).unlink()
    Upload.objects.update(state=state)
    answer = cast.client(cast.vera).get(url(batch, "problems.csv"))
    assert answer.status_code == status
    assert sentence in text_of(answer)


def test_another_reading(cast: Cast) -> None:
    batch = make_draft(cast)
    Batch.objects.update(leave_out=1)
    client = cast.client(cast.bob)
    form = {"read": "1", "encoding": "cp1252", "delimiter": "tab", "has_header": ["0", "1"]}
    assert client.post(url(batch), form).url == url(batch)
    assert "Reading rows…" in text_of(client.get(url(batch)))
    parsing.step(database_now())
    batch.refresh_from_db()
    upload = batch.upload
    assert (upload.encoding, upload.delimiter, upload.has_header) == ("cp1252", "\t", True)
    assert (upload.columns, batch.leave_out) == (["id;text"], 0)
    text = text_of(client.get(url(batch)))
    assert "Read as Windows-1252: cafÃ©. As UTF-8 it would be café." in text
    client.post(url(batch), {"read": "1", "delimiter": ";", "has_header": "0"})
    parsing.step(database_now())
    upload.refresh_from_db()
    assert (upload.columns, upload.rows) == (["Column 1", "Column 2"], 3)


@pytest.mark.parametrize(
    "form",
    [
        {"encoding": "nonsense"},
        {"encoding": "x\x00" * 40},
        {"encoding": "utf-7"},
        {"delimiter": "a"},
        {"delimiter": '"'},
    ],
)
def test_a_reading_that_is_none_is_refused_at_its_place(cast: Cast, form: dict) -> None:
    batch = make_draft(cast)
    client = cast.client(cast.bob)
    assert client.post(url(batch), {"read": "1", **form}).status_code == 302
    parsing.step(database_now())
    page = client.get(url(batch))
    assert page.status_code == 200
    assert "This file cannot be read as rows" in text_of(page)
    client.post(url(batch), {"read": "1", "encoding": "utf-8", "delimiter": ";"})
    parsing.step(database_now())
    assert "2 rows 2 columns" in text_of(client.get(url(batch)))


def test_a_delimiter_of_two_characters(cast: Cast) -> None:
    batch = make_draft(cast)
    answer = cast.client(cast.bob).post(url(batch), {"read": "1", "delimiter": "::"})
    assert answer.status_code == 422
    assert "A delimiter is one character." in text_of(answer)
    batch.upload.refresh_from_db()
    assert batch.upload.state == "ready"


def test_bytes_of_another_encoding_have_their_button(cast: Cast) -> None:
    batch = make_draft(cast, b"id,text\n1,caf\xe9\n")
    client = cast.client(cast.bob)
    text = text_of(client.get(url(batch)))
    assert "Row 2, column text: byte 0xE9 is not UTF-8. In Windows-1252 it reads café." in text
    assert "Read the file as Windows-1252" in text
    client.post(url(batch), {"read": "1", "encoding": "cp1252"})
    parsing.step(database_now())
    text = text_of(client.get(url(batch)))
    assert "Read as Windows-1252: café. As UTF-8 it would be caf\ufffd." in text


def test_a_workbook_says_what_to_do(cast: Cast) -> None:
    batch = make_draft(cast, b"PK\x03\x04xl/workbook" + bytes(50), "reviews.xlsx")
    page = cast.client(cast.bob).get(url(batch))
    text = text_of(page)
    assert "This is an Excel workbook named .xlsx. In Excel: File › Save as › CSV UTF-8." in text
    assert 'name="encoding"' not in page.content.decode()
    assert "Replace the file" in text
    assert "Continue" not in text


def test_a_header_that_is_none_can_be_read_as_data(cast: Cast) -> None:
    batch = make_draft(cast, b"a,a\n1,2\n")
    client = cast.client(cast.bob)
    assert "Read the first row as data" in text_of(client.get(url(batch)))
    client.post(url(batch), {"read": "1", "has_header": "0"})
    parsing.step(database_now())
    assert "2 rows 2 columns" in text_of(client.get(url(batch)))


def test_lines_of_data_are_one_refusal(cast: Cast) -> None:
    batch = make_draft(cast, b'{"id": 1}\n{"id": 2}\n', "objects.jsonl")
    text = text_of(cast.client(cast.bob).get(url(batch)))
    assert "These are lines of data, not requests. Save it as CSV, or write each line as" in text
    assert "no recipe is needed" not in text
    assert "cannot be sent" not in text


def test_a_file_without_a_row_to_send_asks_for_another(cast: Cast) -> None:
    batch = make_draft(cast, b'{"custom_id": "a"}\n{"custom_id": "b"}\n', "requests.jsonl")
    page = cast.client(cast.bob).get(url(batch))
    assert "No line of this file can be sent." in text_of(page)
    assert "Replace the file first." in text_of(page)
    assert "Choose what" not in text_of(page)
    assert "no recipe is needed" not in text_of(page)
    assert "params is missing" in page.context["rows"][0].cells[1].short


def test_lines_are_lines_in_every_sentence(cast: Cast) -> None:
    batch = make_draft(cast, REQUEST % 1 + b'{"custom_id":"b"}\n{"custom_id":"c"}\n', "r.jsonl")
    text = text_of(cast.client(cast.bob).get(url(batch)))
    assert "2 lines cannot be sent" in text
    assert "Leave these 2 lines out and send 1" in text
    assert "Choose what happens to these 2 lines." in text
    assert "2 rows" not in text


def test_only_a_recipe_that_there_is_is_kept(cast: Cast) -> None:
    batch = make_draft(cast)
    client = cast.client(cast.bob)
    assert "The recipe is kept." not in text_of(client.get(url(batch)))
    Batch.objects.update(recipe={"prompt": "About {{text}}"})
    assert "The recipe is kept." in text_of(client.get(url(batch)))
    Batch.objects.update(recipe={}, typed={"fields": {"prompt": "About {{txt}}"}})
    assert "The recipe is kept." in text_of(client.get(url(batch)))


@pytest.mark.parametrize(
    ("codec", "said"), [("utf-16-le", "UTF-16"), ("utf-16-be", "UTF-16, big-endian")]
)
def test_an_encoding_has_one_name(cast: Cast, codec: str, said: str) -> None:
    batch = make_draft(cast, "id,text\n1,tea\n".encode(codec))
    client = cast.client(cast.bob)
    text = text_of(client.get(url(batch)))
    assert f"if it is {said}, choose that ({codec})." in text
    assert f"Read the file as {said} " in text
    client.post(url(batch), {"read": "1", "encoding": codec})
    parsing.step(database_now())
    page = client.get(url(batch)).content.decode()
    assert f'<option value="{codec}" selected>{said}</option>' in page
    assert page.count(f">{said}</option>") == 1


def test_finished_requests_need_no_recipe(cast: Cast) -> None:
    batch = make_draft(cast, REQUEST % 1 + REQUEST % 2, "requests.jsonl")
    page = cast.client(cast.bob).get(url(batch))
    assert "These are finished requests: no recipe is needed." in text_of(page)
    body = page.content.decode()
    assert f'href="/w/acme/batches/{batch.pk}/review/" data-primary' in body
    assert "<b>hi</b>" not in body
    assert "&lt;b&gt;hi&lt;/b&gt;" in body


def test_reading_is_followed_until_it_is_done(cast: Cast) -> None:
    batch = make_draft(cast, read=0)
    Upload.objects.update(rows=64_000)
    client = cast.client(cast.bob)
    assert "Reading rows… 64,000" in text_of(client.get(url(batch)))
    headers = {"HX-Request": "true", "HX-Target": "reading"}
    fragment = client.get(url(batch, "live/"), headers=headers)
    seen = fragment.content.decode().split("seen=")[1][:16]
    assert "64,000" in text_of(fragment)
    assert client.get(url(batch, f"live/?seen={seen}"), headers=headers).status_code == 204
    parsing.step(database_now())
    done = client.get(url(batch, f"live/?seen={seen}"), headers=headers)
    assert (done.status_code, done.headers["HX-Refresh"]) == (204, "true")


def test_a_page_without_a_worker_says_so(cast: Cast) -> None:
    batch = make_draft(cast, read=0)
    client = cast.client(cast.bob)
    sentence = "Nothing has picked this up for 40 s. Is the worker running?"
    assert sentence not in text_of(client.get(url(batch)))
    Upload.objects.update(due_at=database_now() - timedelta(minutes=1))
    assert sentence in text_of(client.get(url(batch)))
    Worker.objects.create(host="web-1", pid=1, seen_at=database_now())
    assert sentence not in text_of(client.get(url(batch)))


def test_a_file_that_stopped_several_workers_waits_for_a_person(cast: Cast) -> None:
    batch = make_draft(cast, read=0)
    Upload.objects.update(crashes=3)
    client = cast.client(cast.bob)
    assert "Reading this file stopped the worker three times." in text_of(client.get(url(batch)))
    client.post(url(batch), {"read": "1"})
    assert parsing.step(database_now())


def test_an_upload_that_stopped_can_be_gone_on_with_or_given_up(cast: Cast) -> None:
    at = database_now()
    file = Announcement("reviews.csv", 100, "0123456789abcdef")
    upload = receiving.begin(file, cast.workspace, cast.bob, at)
    receiving.append(upload, 0, io.BytesIO(b"x" * 49), at)
    batch = Batch.objects.get()
    client = cast.client(cast.bob)
    page = client.get(url(batch))
    assert "Upload stopped at 49 %. Choose the same file to go on." in text_of(page)
    assert f'data-resume="/w/acme/uploads/{upload.pk}/"' in page.content.decode()
    assert "Choose the same file" in text_of(cast.client(cast.vera).get(url(batch)))
    assert client.post(url(batch), {"cancel": "1"}).url == "/w/acme/batches/new/"
    assert not Batch.objects.exists()


def test_a_file_is_replaced_by_a_form(cast: Cast) -> None:
    batch = make_draft(cast, BROKEN)
    Batch.objects.update(leave_out=2, recipe={"model": "m", "prompt": "{{text}}"})
    client = cast.client(cast.bob)
    better = SimpleUploadedFile("better.csv", TABLE)
    assert client.post(url(batch), {"replace": "1", "file": better}).url == url(batch)
    parsing.step(database_now())
    batch.refresh_from_db()
    assert (batch.upload.filename, batch.leave_out) == ("better.csv", 0)
    assert batch.recipe["prompt"] == "{{text}}"
    assert Upload.objects.count() == 1
    nothing = client.post(url(batch), {"replace": "1"})
    assert nothing.status_code == 422
    assert "Choose a file that is not empty." in text_of(nothing)


def test_the_file_of_a_batch_that_was_sent_is_only_read(cast: Cast) -> None:
    batch = make_ready_batch(cast.workspace, ["one", "two"])
    make_part(batch, 2)
    batch.recount()
    client = cast.client(cast.alice)
    page = client.get(url(batch))
    main = page.content.decode().split("<main")[1].split("</main>")[0]
    assert "2 rows" in text_of(page)
    assert 'type="file"' not in main
    assert "<select" not in main
    refused = client.post(url(batch), {"read": "1", "encoding": "cp1252"})
    assert refused.status_code == 422
    assert "This batch was sent" in text_of(refused)
    assert Upload.objects.get().state == "ready"


def test_a_shared_file_is_read_otherwise_for_this_draft_only(cast: Cast) -> None:
    batch = make_draft(cast)
    other = starting.draft(batch.upload, "again", None)
    cast.client(cast.bob).post(url(other), {"read": "1", "delimiter": ","})
    parsing.step(database_now())
    other.refresh_from_db()
    assert other.upload.columns == ["id;text"]
    batch.upload.refresh_from_db()
    assert batch.upload.columns == ["id", "text"]


def test_viewers_read_and_change_nothing(cast: Cast) -> None:
    batch = make_draft(cast, BROKEN)
    client = cast.client(cast.vera)
    page = client.get(url(batch))
    main = page.content.decode().split("<main")[1].split("</main>")[0]
    assert "You can read here. Members can change the file." in text_of(page)
    assert "<form" not in main
    assert "Continue" not in main
    assert client.post(url(batch), {"read": "1", "delimiter": ";"}).status_code == 403
    assert cast.client(cast.charlie).get(url(batch)).status_code == 404
    assert cast.client(cast.charlie).post(url(batch), {"read": "1"}).status_code == 404


def test_rows_cost_no_queries(cast: Cast, django_assert_max_num_queries: Any) -> None:
    batch = make_draft(cast, b"id,text\n" + b"1,tea\n" * 5_000)
    client = cast.client(cast.bob)
    client.get(url(batch))
    with django_assert_max_num_queries(12):
        page = client.get(url(batch))
    assert "First 20 of 5,000 rows" in text_of(page)


def test_long_cells_and_foreign_scripts(cast: Cast) -> None:
    batch = make_draft(cast, ("名,text\n评论," + "é" * 5_000 + "\n<b>,x\n").encode(), "评论.csv")
    page = cast.client(cast.bob).get(url(batch))
    body = page.content.decode()
    assert "é" * 160 in body
    assert "é" * 1_001 not in body
    assert "&lt;b&gt;" in body
    assert "First" not in body.split("<h2")[1].split("</h2>")[0]
    row = cast.client(cast.bob).get(url(batch, "?row=2"), headers={"HX-Request": "true"})
    assert "é" * 5_000 in row.content.decode()


def test_a_draft_whose_bytes_are_gone_still_opens(cast: Cast) -> None:
    batch = make_draft(cast)
    archive.received(batch.upload_id).unlink()
    assert cast.client(cast.bob).get(url(batch)).status_code == 200
