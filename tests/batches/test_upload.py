import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.http import HttpResponse
from django.test import Client
from playwright.sync_api import Browser, Page, Route

from batches import archive, parsing, receiving
from batches.models import Batch, Upload
from leases.clock import database_now
from tests.batches.stage import make_batch as make_ready_batch
from tests.batches.stage import make_part
from tests.browser import Site, note
from tests.cast import Cast, gather

TABLE = b"id,text\n1,tea\n2,coffee\n"
TOKEN = "0123456789abcdef0123"


def announce(client: Client, **fields: object) -> HttpResponse:
    body = {"name": "reviews.csv", "size": len(TABLE), "token": TOKEN, **fields}
    return client.post("/w/acme/uploads/", json.dumps(body), content_type="application/json")


def put(client: Client, url: str, data: bytes, offset: object) -> HttpResponse:
    headers = {"Upload-Offset": str(offset)}
    return client.put(url, data, content_type="application/octet-stream", headers=headers)


def test_a_file_comes_in_pieces(cast: Cast) -> None:
    client = cast.client(cast.bob)
    answer = announce(client)
    place = answer.json()
    batch = Batch.objects.get()
    assert (answer.status_code, place["state"], place["received"]) == (201, "receiving", 0)
    assert place["file"] == f"/w/acme/batches/{batch.pk}/file/"
    assert batch.created_by == batch.upload.created_by == cast.bob
    assert batch.saved_at is not None
    assert put(client, place["upload"], TABLE[:10], 0).json()["received"] == 10
    assert client.get(place["upload"]).json()["received"] == 10
    done = put(client, place["upload"], TABLE[10:], 10)
    assert (done.status_code, done.json()["state"]) == (200, "queued")
    assert archive.received(batch.upload_id).read_bytes() == TABLE


def test_a_double_press_and_a_retry_are_one_upload(cast: Cast) -> None:
    client = cast.client(cast.bob)
    first, second = announce(client).json(), announce(client).json()
    assert first == second
    assert Batch.objects.count() == Upload.objects.count() == 1
    assert announce(client, size=5).status_code == 409
    assert announce(client, modified=5).status_code == 409


def test_a_piece_that_does_not_fit_is_told_where_the_file_ends(cast: Cast) -> None:
    client = cast.client(cast.bob)
    place = announce(client).json()
    put(client, place["upload"], TABLE[:10], 0)
    answer = put(client, place["upload"], TABLE[:10], 0)
    assert (answer.status_code, answer.json()["received"]) == (409, 10)
    assert "byte 10" in answer.json()["error"]
    put(client, place["upload"], TABLE[10:], 10)
    again = put(client, place["upload"], TABLE[10:], 10)
    assert (again.status_code, again.json()["state"]) == (409, "queued")


def test_a_piece_of_more_than_8_mb_is_refused(cast: Cast) -> None:
    client = cast.client(cast.bob)
    place = announce(client, size=20 << 20).json()
    answer = put(client, place["upload"], b"x" * (receiving.PIECE_LIMIT + 1), 0)
    assert answer.status_code == 413
    assert put(client, place["upload"], b"x" * receiving.PIECE_LIMIT, 0).status_code == 200


@pytest.mark.parametrize("offset", ["", "-1", "x", "²", "9" * 40])
def test_an_offset_that_is_none(cast: Cast, offset: str) -> None:
    client = cast.client(cast.bob)
    place = announce(client).json()
    # Not every offset here may stand in a header.
    sent = offset if offset.isascii() else offset.encode().decode("latin-1")
    assert put(client, place["upload"], TABLE, sent).status_code == 422


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"size": 0}, 422),
        ({"size": -5}, 422),
        ({"size": "many"}, 422),
        ({"size": 1 << 62}, 413),
        ({"size": 1 << 70}, 413),
        ({"batch": 1 << 70}, 422),
        ({"modified": 1 << 70}, 422),
        ({"modified": -1}, 201),
        ({"recipe": 1 << 70}, 422),
        ({"token": "short"}, 422),
        ({"token": "a/../" * 8}, 422),
        ({"name": None}, 422),
        ({"batch": 10**15}, 404),
        ({"recipe": 10**15}, 201),
        ({"name": "x\x00" * 400}, 201),
    ],
)
def test_an_announcement_that_is_none(cast: Cast, fields: dict, status: int) -> None:
    answer = announce(cast.client(cast.bob), **fields)
    assert answer.status_code == status
    assert Batch.objects.count() == (status == 201)
    if status in (413, 422):
        assert answer.json()["error"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff"])
def test_a_body_that_is_no_announcement(cast: Cast, body: bytes) -> None:
    client = cast.client(cast.bob)
    answer = client.post("/w/acme/uploads/", body, content_type="application/json")
    assert answer.status_code == 422


def test_cancelling_takes_the_draft_along(cast: Cast) -> None:
    client = cast.client(cast.bob)
    place = announce(client).json()
    assert client.delete(place["upload"]).json() == {"next": "/w/acme/batches/new/"}
    assert not Batch.objects.exists()
    assert put(client, place["upload"], TABLE, 0).status_code == 404


def test_a_recipe_comes_along_from_this_workspace_only(cast: Cast) -> None:
    recipe = {"model": "claude-haiku-4-5", "prompt": "Label {{text}}"}
    mine, theirs = (
        Batch.objects.create(workspace=workspace, name="Old", recipe=recipe)
        for workspace in (cast.workspace, cast.other)
    )
    client = cast.client(cast.bob)
    announce(client, recipe=mine.pk)
    assert Batch.objects.latest("pk").recipe == recipe
    announce(client, recipe=theirs.pk, token="f" * 20)
    assert Batch.objects.latest("pk").recipe == {}


def test_a_replacement_comes_into_the_same_draft(cast: Cast) -> None:
    client = cast.client(cast.bob)
    put(client, announce(client).json()["upload"], TABLE, 0)
    parsing.step(database_now())
    batch = Batch.objects.get()
    place = announce(client, batch=batch.pk, token="f" * 20).json()
    assert place["file"] == f"/w/acme/batches/{batch.pk}/file/"
    assert client.delete(place["upload"]).json() == {"next": place["file"]}
    assert Upload.objects.get().state == "ready"


def test_nobody_replaces_the_file_of_a_batch_that_was_sent_or_of_others(cast: Cast) -> None:
    sent, theirs = (make_ready_batch(one, ["a"]) for one in (cast.workspace, cast.other))
    make_part(sent, 1)
    client = cast.client(cast.bob)
    assert announce(client, batch=sent.pk).status_code == 422
    assert announce(client, batch=theirs.pk).status_code == 404
    assert Upload.objects.count() == 2


def test_viewers_and_strangers_send_nothing(cast: Cast) -> None:
    place = announce(cast.client(cast.bob)).json()["upload"]
    for user, status in ((cast.vera, 403), (cast.charlie, 404), (cast.rita, 404)):
        client = cast.client(user)
        assert announce(client, token="f" * 20).status_code == status
        assert put(client, place, TABLE, 0).status_code == status
        assert client.delete(place).status_code == status
    assert Upload.objects.get().received == 0


# In a browser.


@pytest.fixture
def team(site: Site) -> Cast:
    return gather()


@pytest.fixture
def signed_in(page: Page, site: Site, team: Cast) -> Page:
    sign_in(page, team)
    return page


def sign_in(page: Page, team: Cast) -> None:
    client = Client()
    client.force_login(team.bob)
    page.goto("/health")
    cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value, "url": page.url}
    page.context.add_cookies([cookie])


def large_file(path: Path, size: int = 20 << 20) -> Path:
    row = b"%07d," + b"some words of a review " * 40 + b"\n"
    with path.open("wb") as file:
        file.write(b"id,text\n")
        number = 0
        while file.tell() < size:
            file.write(row % number)
            number += 1
    return path


@pytest.fixture
def on_a_train(browser: Browser, site: Site, team: Cast) -> Iterator[Page]:
    """A page whose requests may fail, which a browser complains of."""
    complaints: list[str] = []
    context = browser.new_context(base_url=site.url)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("console", lambda message: note(complaints, message))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    sign_in(page, team)
    yield page
    context.close()
    assert [text for text in complaints if "Failed to load resource" not in text] == []


def test_a_piece_that_fails_is_sent_again(on_a_train: Page, tmp_path: Path) -> None:
    page, file = on_a_train, large_file(tmp_path / "reviews.csv")
    offsets: list[str] = []

    def sometimes(route: Route) -> None:
        if route.request.method == "PUT":
            offsets.append(route.request.headers["upload-offset"])
            if len(offsets) == 2:
                route.abort()
                return
        route.continue_()

    page.route("**/uploads/*/", sometimes)
    page.goto("/w/acme/batches/new/")
    page.locator("input[type=file]").set_input_files(file)
    lost = page.get_by_text("Connection lost at 8.4 MB. We go on by ourselves when it is back.")
    lost.first.wait_for()
    page.get_by_text("Reading rows").wait_for()
    piece = receiving.PIECE_LIMIT
    assert offsets == ["0", str(piece), str(piece), str(2 * piece)]
    upload = Upload.objects.get()
    assert archive.received(upload.pk).read_bytes() == file.read_bytes()
    assert Batch.objects.count() == 1
    parsing.step(database_now())
    page.get_by_text("First 20 of").wait_for()


def test_after_a_reload_the_same_file_goes_on(on_a_train: Page, tmp_path: Path) -> None:
    page, file = on_a_train, large_file(tmp_path / "reviews.csv")

    def only_the_first(route: Route) -> None:
        if route.request.headers.get("upload-offset", "0") == "0":
            route.continue_()
        else:
            route.abort()

    page.route("**/uploads/*/", only_the_first)
    page.goto("/w/acme/batches/new/")
    page.locator("input[type=file]").set_input_files(file)
    page.wait_for_function("() => /^\\d+ % · reviews.csv/.test(document.title)")
    page.get_by_text("Connection lost").first.wait_for()
    page.unroute_all(behavior="wait")
    page.reload()
    percent = 100 * receiving.PIECE_LIMIT / file.stat().st_size
    page.get_by_text(f"Upload stopped at {round(percent)} %. Choose the same").wait_for()
    other = tmp_path / "other.csv"
    other.write_bytes(TABLE)
    page.locator("input[type=file]").set_input_files(other)
    page.get_by_text("This is not the file that was being sent").wait_for()
    edited = tmp_path / "edited" / "reviews.csv"
    edited.parent.mkdir()
    edited.write_bytes(file.read_bytes().replace(b"some words", b"five words"))
    page.locator("input[type=file]").set_input_files(edited)
    page.get_by_text("reviews.csv was changed since the first part of it was sent").wait_for()
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_text("Reading rows").wait_for()
    assert archive.received(Upload.objects.get().pk).read_bytes() == file.read_bytes()


def test_what_is_no_table_is_refused_before_it_is_sent(signed_in: Page, tmp_path: Path) -> None:
    page, workbook = signed_in, tmp_path / "reviews.csv"
    workbook.write_bytes(b"PK\x03\x04" + bytes(100))
    page.goto("/w/acme/batches/new/")
    page.locator("input[type=file]").set_input_files(workbook)
    sentence = "This is an Excel workbook named .csv. In Excel: File › Save as › CSV UTF-8."
    page.get_by_text(sentence).wait_for()
    assert not Upload.objects.exists()


DROP = """([kind]) => {
    const files = new DataTransfer();
    files.items.add(new File(["id,text\\n1,tea\\n"], "dropped.csv"));
    const options = { bubbles: true, cancelable: true, dataTransfer: files };
    document.querySelector("main").dispatchEvent(new DragEvent(kind, options));
}"""


def test_a_file_is_dropped_on_the_list_of_batches(signed_in: Page) -> None:
    page = signed_in
    page.goto("/w/acme/batches/")
    page.evaluate(DROP, ["dragover"])
    assert page.locator(".over").count() == 1
    page.evaluate(DROP, ["drop"])
    page.get_by_text("Reading rows").wait_for()
    parsing.step(database_now())
    page.get_by_role("link", name="Continue to the recipe").wait_for()
    assert Batch.objects.get().name == "dropped"


@pytest.fixture
def without_scripts(browser: Browser, site: Site, team: Cast) -> Iterator[Page]:
    context = browser.new_context(base_url=site.url, java_script_enabled=False)
    page = context.new_page()
    page.set_default_timeout(10_000)
    sign_in(page, team)
    yield page
    context.close()


def test_a_form_takes_small_files_without_scripts(without_scripts: Page, tmp_path: Path) -> None:
    page, file = without_scripts, tmp_path / "reviews.csv"
    file.write_bytes(TABLE + b"3,too,many\n")
    page.goto("/w/acme/batches/new/")
    page.locator("input[type=file]").set_input_files(file)
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url("**/file/")
    parsing.step(database_now())
    page.reload()
    assert page.get_by_role("heading", name="1 row cannot be sent").is_visible()
    # It says that it waits for a choice, and can be pressed to hear why.
    page.get_by_role("button", name="Continue to the recipe").click(force=True)
    assert page.get_by_role("alert").first.inner_text().startswith("1 row cannot be sent.")
    page.get_by_label("Leave this row out and send 2").check()
    page.get_by_role("button", name="Continue to the recipe").click(force=True)
    page.wait_for_url("**/recipe/")
    assert Batch.objects.get().leave_out == 1
