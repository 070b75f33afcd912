import errno
import hashlib
import io
import threading
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from batches import archive, parsing, receiving, starting
from batches.models import Batch, Upload
from batches.receiving import Announcement, NoRoom, OutOfStep, Refused, TooLarge
from batches.rereading import read_otherwise
from tests.batches.stage import make_batch, make_part, now
from workspaces.models import Workspace

TABLE = b"id;text\n1;caf\xc3\xa9\n2;tea\n"
TOKEN = "0123456789abcdef"


@pytest.fixture
def actor(db: None) -> User:
    return User.objects.create_user("mei")


def announce(name: str = "reviews.csv", size: int = len(TABLE), token: str = TOKEN) -> Announcement:
    return Announcement(name, size, token)


def begin(workspace: Workspace, actor: User, **fields: object) -> Upload:
    return receiving.begin(announce(**fields), workspace, actor, now())  # type: ignore[arg-type]


def send(upload: Upload, data: bytes, offset: int = 0) -> None:
    receiving.append(upload, offset, io.BytesIO(data), now())


def test_pieces_become_a_file_that_is_read(workspace: Workspace, actor: User) -> None:
    upload = begin(workspace, actor)
    batch = Batch.objects.get()
    assert (batch.upload, batch.name, batch.created_by) == (upload, "reviews", actor)
    assert (batch.state, upload.state, upload.received) == ("draft", "receiving", 0)
    send(upload, TABLE[:10])
    assert (upload.state, upload.received) == ("receiving", 10)
    assert not archive.received(upload.pk).exists()
    assert not parsing.step(timezone.now())
    send(upload, TABLE[10:], 10)
    assert upload.state == "queued"
    assert archive.received(upload.pk).read_bytes() == TABLE
    assert not archive.arriving(upload.pk).exists()
    assert parsing.step(timezone.now())
    upload.refresh_from_db()
    assert (upload.state, upload.rows) == ("ready", 2)
    assert upload.sha256 == hashlib.sha256(TABLE).hexdigest()


def test_a_second_try_is_the_same_upload(workspace: Workspace, actor: User) -> None:
    first = begin(workspace, actor)
    send(first, TABLE[:10])
    again = begin(workspace, actor)
    assert (again, again.received, Batch.objects.count()) == (first, 10, 1)
    with pytest.raises(OutOfStep):
        begin(workspace, actor, size=5)
    begin(workspace, actor, token="f" * 16)
    assert Batch.objects.count() == 2


def test_a_piece_fits_where_the_file_ends_and_nowhere_else(
    workspace: Workspace, actor: User
) -> None:
    upload = begin(workspace, actor)
    send(upload, TABLE[:10])
    for offset in (0, 9, 11):
        with pytest.raises(OutOfStep, match="goes on at byte 10"):
            send(upload, TABLE[10:], offset)
    send(upload, TABLE[10:], 10)
    with pytest.raises(OutOfStep):
        send(upload, TABLE[10:], 10)
    assert archive.received(upload.pk).read_bytes() == TABLE


def test_what_a_broken_piece_left_is_cut_off(workspace: Workspace, actor: User) -> None:
    upload = begin(workspace, actor)
    send(upload, TABLE[:10])
    with archive.arriving(upload.pk).open("ab") as file:
        file.write(b"never acknowledged")
    send(upload, TABLE[10:], 10)
    assert archive.received(upload.pk).read_bytes() == TABLE


def test_a_body_that_breaks_counts_for_nothing(workspace: Workspace, actor: User) -> None:
    class Breaks(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell():
                raise ConnectionResetError
            return super().read(3)

    upload = begin(workspace, actor)
    with pytest.raises(ConnectionResetError):
        receiving.append(upload, 0, Breaks(TABLE), now())
    upload.refresh_from_db()
    assert upload.received == 0
    send(upload, TABLE)
    assert archive.received(upload.pk).read_bytes() == TABLE


def test_two_tabs_do_not_write_into_each_other(workspace: Workspace, actor: User) -> None:
    upload = begin(workspace, actor)
    other = Upload.objects.get(pk=upload.pk)
    with (
        receiving.writing_alone(upload),
        pytest.raises(OutOfStep, match="Another piece is being written"),
    ):
        send(other, TABLE)
    send(other, TABLE)
    assert other.state == "queued"


@pytest.mark.django_db(transaction=True)
@pytest.mark.both_databases
def test_of_two_who_send_at_once_one_is_told_to_look_again(
    workspace: Workspace, actor: User
) -> None:
    size, outcomes = 3 << 20, []
    upload = begin(workspace, actor, size=size)
    barrier = threading.Barrier(2)

    def tab(letter: bytes) -> None:
        mine = Upload.objects.get(pk=upload.pk)
        barrier.wait()
        try:
            send(mine, letter * size)
            outcomes.append(letter)
        except OutOfStep:
            outcomes.append(b"")
        finally:
            connection.close()

    threads = [threading.Thread(target=tab, args=(letter,)) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    letter = next(filter(None, outcomes))
    assert sorted(outcomes) == [b"", letter]
    assert archive.received(upload.pk).read_bytes() == letter * size


def test_a_crash_before_the_last_word_is_mended_by_the_next_try(
    workspace: Workspace, actor: User
) -> None:
    upload = begin(workspace, actor)
    send(upload, TABLE[:10])
    with archive.arriving(upload.pk).open("ab") as file:
        file.write(TABLE[10:])
    Upload.objects.update(received=len(TABLE))
    archive.arriving(upload.pk).rename(archive.received(upload.pk))
    send(upload, b"", len(TABLE))
    assert upload.state == "queued"
    assert archive.received(upload.pk).read_bytes() == TABLE


def test_bytes_that_are_gone_from_the_disk_are_asked_for_again(
    workspace: Workspace, actor: User
) -> None:
    upload = begin(workspace, actor)
    send(upload, TABLE[:10])
    archive.arriving(upload.pk).unlink()
    with pytest.raises(OutOfStep, match="no longer on the server"):
        send(upload, TABLE[10:], 10)
    send(upload, TABLE)
    assert archive.received(upload.pk).read_bytes() == TABLE


def test_limits(workspace: Workspace, actor: User) -> None:
    for size, sentence in ((0, "File is empty"), (-1, "File is empty"), (10**18, "the limit is")):
        with pytest.raises(Refused, match=sentence):
            begin(workspace, actor, size=size)
    small = begin(workspace, actor)
    with pytest.raises(Refused, match="larger than it was said to be"):
        send(small, TABLE + b"x")
    large = begin(workspace, actor, size=receiving.PIECE_LIMIT * 2, token="e" * 16)
    with pytest.raises(TooLarge):
        send(large, b"x" * (receiving.PIECE_LIMIT + 1))
    large.refresh_from_db()
    assert large.received == 0
    assert Upload.objects.count() == Batch.objects.count() == 2


def test_a_file_without_room_is_refused_before_a_byte_of_it(
    workspace: Workspace, actor: User, settings: Settings
) -> None:
    # A file system without free space.
    settings.DATA_DIR = Path("/proc")
    with pytest.raises(NoRoom) as refused:
        begin(workspace, actor, size=152_000_000)
    assert str(refused.value) == (
        "The server has no room for this file (free 0 bytes, needed 456 MB). "
        "Tell your administrator."
    )
    assert not Batch.objects.exists()


def test_a_disk_that_fills_up_is_said_and_can_be_gone_on_from(
    workspace: Workspace, actor: User
) -> None:
    class Fills(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            raise OSError(errno.ENOSPC, "No space left on device")

    upload = begin(workspace, actor)
    with pytest.raises(NoRoom, match="The server has no room"):
        receiving.append(upload, 0, Fills(), now())
    send(upload, TABLE)
    assert upload.state == "queued"


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("C:\\Users\\mei\\reviews.csv", "reviews.csv"),
        ("../../etc/passwd", "passwd"),
        ("评论 十月.csv", "评论 十月.csv"),
        ("a\r\nb\x00\u202egpj.csv", "ab\ufffdgpj.csv"),
        ("x" * 300 + ".jsonl", "x" * 249 + ".jsonl"),
        ("", "file"),
        ("..", ".."),
    ],
)
def test_names_are_cleaned(given: str, kept: str) -> None:
    assert receiving.clean_name(given) == kept


def test_cancelling_leaves_nothing(workspace: Workspace, actor: User) -> None:
    upload = begin(workspace, actor)
    send(upload, TABLE[:10])
    assert receiving.cancel(upload) is None
    assert not Upload.objects.exists()
    assert not Batch.objects.exists()
    assert not archive.arriving(upload.pk).parent.exists()
    with pytest.raises(Upload.DoesNotExist):
        send(upload, TABLE[10:], 10)
    assert not archive.arriving(upload.pk).parent.exists()


def test_a_file_that_is_here_is_not_cancelled(workspace: Workspace, actor: User) -> None:
    upload = begin(workspace, actor)
    send(upload, TABLE)
    with pytest.raises(OutOfStep, match="Delete the draft"):
        receiving.cancel(upload)
    assert Batch.objects.count() == 1


def ready_draft(workspace: Workspace, actor: User) -> Batch:
    send(begin(workspace, actor), TABLE)
    parsing.step(timezone.now())
    recipe = {"model": "claude-haiku-4-5", "prompt": "Label {{text}}"}
    Batch.objects.update(recipe=recipe, leave_out=1)
    return Batch.objects.get()


def replace(batch: Batch, actor: User, token: str = "b" * 16) -> Upload:
    file = announce("better.csv", token=token)
    return receiving.begin(file, batch.workspace, actor, now(), replacing=batch)


def test_a_replaced_file_keeps_the_recipe(workspace: Workspace, actor: User) -> None:
    batch = ready_draft(workspace, actor)
    old, new = batch.upload, replace(batch, actor)
    assert archive.received(old.pk).exists()
    send(new, TABLE)
    batch.refresh_from_db()
    assert (batch.upload, batch.leave_out) == (new, 0)
    assert batch.recipe["prompt"] == "Label {{text}}"
    assert list(Upload.objects.all()) == [new]
    assert not archive.received(old.pk).exists()


def test_a_cancelled_replacement_gives_back_what_was_there(
    workspace: Workspace, actor: User
) -> None:
    batch = ready_draft(workspace, actor)
    old = batch.upload
    given_up = replace(batch, actor)
    new = replace(batch, actor, token="c" * 16)
    assert not Upload.objects.filter(pk=given_up.pk).exists()
    assert receiving.cancel(new) == batch
    batch.refresh_from_db()
    assert batch.upload == old
    assert list(Upload.objects.all()) == [old]
    assert archive.received(old.pk).exists()


def test_a_replaced_file_that_another_batch_uses_stays(workspace: Workspace, actor: User) -> None:
    batch = ready_draft(workspace, actor)
    other = starting.draft(batch.upload, "again", None, like=batch)
    assert other.recipe == batch.recipe
    old, new = batch.upload, replace(batch, actor)
    send(new, TABLE)
    assert archive.received(old.pk).exists()
    assert Upload.objects.count() == 2


def test_the_file_of_a_batch_that_was_sent_stays(workspace: Workspace, actor: User) -> None:
    batch = make_batch(workspace, ["a"])
    make_part(batch, 1)
    with pytest.raises(Refused, match="This batch was sent"):
        replace(batch, actor)
    with pytest.raises(Refused, match="This batch was sent"):
        read_otherwise(batch, now(), encoding="cp1252")
    assert Upload.objects.count() == 1


def test_another_reading_of_a_shared_file_is_an_upload_of_its_own(
    workspace: Workspace, actor: User
) -> None:
    batch = ready_draft(workspace, actor)
    shared = batch.upload
    other = starting.draft(shared, "again", None)
    read_otherwise(other, now(), delimiter=",", has_header=False)
    parsing.step(timezone.now())
    other.refresh_from_db()
    assert (other.upload.columns, other.upload.rows) == (["Column 1"], 3)
    assert other.upload.sha256 == shared.sha256
    assert archive.received(other.upload_id).samefile(archive.received(shared.pk))
    shared.refresh_from_db()
    assert (shared.columns, shared.state) == (["id", "text"], "ready")
    starting.discard(other)
    assert archive.received(shared.pk).read_bytes() == TABLE
