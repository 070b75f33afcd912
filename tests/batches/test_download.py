"""The file as it is downloaded: what `export_batch` writes, and never a part that looks whole."""

import socket
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path
from typing import Self
from urllib.parse import urlencode

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import AsyncClient, Client

from batches import archive
from batches.exporting_choice import Choice
from batches.exporting_rows import Outcome
from batches.models import Batch
from batches.reading import Filter
from claude_api import read_answer
from tests.batches.build import (
    answer_part,
    errored,
    make_batch,
    make_part,
    make_run,
    make_upload,
    make_workspace,
    succeeded,
    table_rows,
)
from tests.browser import Site
from workspaces.models import Membership

TRANSACTION = pytest.mark.django_db(transaction=True)


def make_user(name: str = "vera", role: str = "viewer") -> User:
    user = User.objects.create_user(name)
    Membership.objects.create(workspace=make_workspace(), user=user, role=role)
    return user


def make_answered(**fields: object) -> Batch:
    """Six rows: two good, one cut off, one errored, one expired, one left out."""
    rows = table_rows(*([text] for text in ("good", "-bad", "long", "wrong", "late", "?")))
    batch = make_batch(make_upload(["text"], rows), state="ended", **fields)
    part = make_part(make_run(batch, left_out={7: "Row 7: too short."}), [2, 3, 4, 5, 6])
    answers = {
        2: succeeded("Needle"),
        3: succeeded("=B"),
        4: succeeded("and", stop_reason="max_tokens"),
        5: errored("invalid_request_error", "no"),
        6: {"type": "expired"},
    }
    answer_part(part, answers)
    part.batch.results.filter(row=4).update(concern="max_tokens")
    part.batch.results.filter(row=5).update(concern="invalid_request_error")
    return batch


def url_of(batch: Batch, **query: object) -> str:
    return f"/w/team/batches/{batch.pk}/download/?{urlencode(query, doseq=True)}"


async def download(batch: Batch, **query: object) -> tuple[bytes, dict[str, str]]:
    client = AsyncClient()
    await client.aforce_login(await User.objects.aget(username="vera"))
    response = await client.get(url_of(batch, **query))
    assert response.status_code == 200
    content = b"".join([chunk async for chunk in response.streaming_content])
    return content, dict(response.headers)


def as_command(batch: Batch, path: Path, *options: str) -> bytes:
    call_command("export_batch", str(batch.pk), str(path), *options, stderr=StringIO())
    return path.read_bytes()


@TRANSACTION
@pytest.mark.parametrize(
    ("query", "options"),
    [
        ({"format": "csv"}, []),
        ({"format": "csv", "bom": "1", "exact": "1"}, ["--bom", "--exact"]),
        ({"format": "csv", "rows": "problems"}, ["--rows", "problems"]),
        ({"format": "jsonl", "rows": "succeeded"}, ["--rows", "succeeded"]),
    ],
)
async def test_it_is_what_the_command_writes(tmp_path: Path, query: dict, options: list) -> None:
    await sync_to_async(make_user)()
    batch = await sync_to_async(make_answered)()
    path = tmp_path / f"out.{query['format']}"
    expected = await sync_to_async(as_command)(batch, path, *options)
    content, headers = await download(batch, **query)
    assert content == expected
    kind = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}[query["format"]]
    assert headers["Content-Type"] == kind
    assert headers["Cache-Control"] == "no-store"
    name = f"review-themes-{batch.pk}.{query['format']}"
    assert headers["Content-Disposition"] == f'attachment; filename="{name}"'


@TRANSACTION
@pytest.mark.parametrize(
    ("query", "rows"),
    [
        ({"rows": "succeeded"}, [2, 3, 4]),
        ({"rows": "problems"}, [4, 5, 6, 7]),
        ({"rows": "filter", "type": "errored"}, [5]),
        ({"rows": "filter", "stop": "max_tokens"}, [4]),
        ({"rows": "filter", "stop": "end_turn"}, [2, 3]),
        ({"rows": "filter", "error": "invalid_request_error"}, [5]),
        ({"rows": "filter", "q": "NEEDLE"}, [2]),
        ({"rows": "filter", "type": "succeeded", "q": "a"}, [4]),
        ({"rows": "filter"}, [2, 3, 4, 5, 6]),
        ({"rows": "filter", "type": "none"}, []),
        ({"rows": "selected", "row": [7, 3, 99, "x"]}, [3, 7]),
    ],
)
async def test_it_holds_the_rows_that_are_asked_for(query: dict, rows: list[int]) -> None:
    await sync_to_async(make_user)()
    batch = await sync_to_async(make_answered)()
    content, _ = await download(batch, format="csv", **query)
    # Column custom_id, which is the number of the row here.
    assert [int(line.split(",")[1]) for line in content.decode().splitlines()[1:]] == rows


def test_a_type_that_is_newer_than_this_program_is_among_the_errored() -> None:
    answer = read_answer(b'{"custom_id":"2_a","result":{"type":"deferred"}}')
    outcome = Outcome(archive.Row(2), "2", "deferred", answer=answer, concern="deferred")
    chosen = {kind: Choice("filter", Filter(type=kind)) for kind in ("errored", "deferred")}
    assert all(choice.takes(outcome) for choice in chosen.values())
    assert not Choice("filter", Filter(type="succeeded")).takes(outcome)


@TRANSACTION
async def test_a_running_batch_gives_a_partial_file_under_any_name() -> None:
    await sync_to_async(make_user)()
    batch = await sync_to_async(make_answered)(name="评论")
    batch.state = "in_progress"
    await batch.asave()
    _, headers = await download(batch)
    encoded = f"%E8%AF%84%E8%AE%BA-{batch.pk}-partial.csv"
    assert headers["Content-Disposition"] == f"attachment; filename*=utf-8''{encoded}"


@pytest.mark.django_db
def test_strangers_find_nothing_and_viewers_download() -> None:
    batch = make_answered()
    for name, role, status in (("vera", "viewer", 200), ("bob", "member", 200)):
        client = Client()
        client.force_login(make_user(name, role))
        assert client.get(url_of(batch)).status_code == status
    client.force_login(User.objects.create_user("charlie"))
    assert client.get(url_of(batch)).status_code == 404


@pytest.mark.django_db
def test_bad_input_is_said_at_its_place() -> None:
    batch = make_answered()
    client = Client()
    client.force_login(make_user())
    response = client.get(url_of(batch, format="xlsx", rows="best"))
    assert response.status_code == 422
    page = response.content.decode()
    assert "Choose CSV or JSONL." in page
    assert "Choose which rows." in page
    assert client.post(url_of(batch)).status_code == 405


@pytest.mark.django_db
def test_what_has_no_rows_says_why() -> None:
    client = Client()
    client.force_login(make_user())
    for batch, sentence in (
        (make_batch(None, state="ended"), "was adopted, and its answers are not here yet"),
        (make_batch(make_upload(["text"], []), state="draft"), "Nothing was sent yet"),
    ):
        response = client.get(url_of(batch))
        assert response.status_code == 409
        assert sentence in response.content.decode()


class Reader:
    """A client of the real server, over a plain socket, that reads as it likes."""

    def __init__(self, site: Site, batch: Batch, user: User) -> None:
        client = Client()
        client.force_login(user)
        host, port = site.url.removeprefix("http://").split(":")
        self._socket = socket.create_connection((host, int(port)), timeout=20)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
        self._socket.sendall(
            f"GET {url_of(batch)} HTTP/1.1\r\nHost: {host}\r\n"
            f"Cookie: sessionid={client.cookies['sessionid'].value}\r\n"
            "Connection: close\r\n\r\n".encode()
        )

    def read(self, size: int) -> bytes:
        return self._socket.recv(size)

    def read_all(self) -> bytes:
        """All that comes until the connection is closed, or broken."""
        content = b""
        with suppress(ConnectionResetError):
            while data := self._socket.recv(1 << 16):
                content += data
        return content

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._socket.close()


def make_large() -> Batch:
    rows = table_rows(*(["x" * 1_000] for _ in range(20_000)))
    batch = make_batch(make_upload(["text"], rows), state="ended")
    make_run(batch)
    return batch


def test_a_slow_reader_gets_all_of_it(site: Site) -> None:
    batch, user = make_large(), make_user()
    begun = time.monotonic()
    with Reader(site, batch, user) as reader:
        head = reader.read(4_096)
        assert head.startswith(b"HTTP/1.1 200")
        assert time.monotonic() - begun < 5
        time.sleep(0.5)
        content = head + reader.read_all()
    assert content.endswith(b"0\r\n\r\n")
    assert content.count(b"not_chosen") == 20_000


def test_a_file_that_breaks_off_does_not_look_whole(site: Site) -> None:
    batch, user = make_large(), make_user()
    path = archive.rows(batch.upload_id, 1)
    path.write_bytes(path.read_bytes()[:8_000_000] + b'{"broken')
    with Reader(site, batch, user) as reader:
        content = reader.read_all()
    assert b"not_chosen" in content
    assert not content.endswith(b"0\r\n\r\n")


def test_after_a_reader_who_left_the_next_gets_all_of_it(site: Site) -> None:
    batch, user = make_large(), make_user()
    with Reader(site, batch, user) as reader:
        assert reader.read(12) == b"HTTP/1.1 200"
    with Reader(site, batch, user) as reader:
        assert reader.read_all().endswith(b"0\r\n\r\n")
