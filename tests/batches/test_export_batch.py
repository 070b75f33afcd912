"""`manage.py export_batch`, called as a shell calls it."""

import subprocess
import sys
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from batches.models import Batch
from tests.batches.build import (
    answer_part,
    make_batch,
    make_part,
    make_run,
    make_upload,
    succeeded,
    table_rows,
)


@pytest.fixture
def batch() -> Batch:
    batch = make_batch(make_upload(["review"], table_rows(["good"], ["-bad"], ["?"])))
    run = make_run(batch, left_out={4: "Row 4: too short."})
    answer_part(make_part(run, [2, 3]), {2: succeeded("A"), 3: succeeded("=B")})
    return batch


def export_batch(*arguments: object) -> str:
    """What is said on stderr."""
    said = StringIO()
    call_command("export_batch", *map(str, arguments), stderr=said)
    return said.getvalue()


@pytest.mark.django_db
def test_it_works(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    assert export_batch(batch.pk, path) == f"2 succeeded, 1 left out → {path}\n"
    assert path.read_bytes().decode() == (
        "review,custom_id,result,text,stop_reason,input_tokens,output_tokens,error\r\n"
        "good,2,succeeded,A,end_turn,10,5,\r\n"
        "'-bad,3,succeeded,'=B,end_turn,10,5,\r\n"
        "?,4,left_out,,,,,Row 4: too short.\r\n"
    )


@pytest.mark.django_db
def test_exact_and_mark(batch: Batch, tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    path.write_text("what stood here before")
    export_batch(batch.pk, path, "--exact", "--bom")
    data = path.read_bytes()
    assert data.startswith(b"\xef\xbb\xbfreview,")
    assert b"\r\n-bad,3,succeeded,=B," in data


@pytest.mark.django_db
def test_format_by_name_and_by_option(batch: Batch, tmp_path: Path) -> None:
    export_batch(batch.pk, tmp_path / "a.JSONL")
    export_batch(batch.pk, tmp_path / "b.txt", "--format", "jsonl")
    lines = (tmp_path / "b.txt").read_text().splitlines()
    assert (tmp_path / "a.JSONL").read_text().splitlines() == lines
    assert lines[2] == (
        '{"row":4,"custom_id":"4","result":{"type":"left_out","reason":"Row 4: too short."}}'
    )


@pytest.mark.django_db
def test_stdout(batch: Batch, capfdbinary) -> None:
    assert export_batch(batch.pk, "-", "--format", "csv") == "2 succeeded, 1 left out → stdout\n"
    sys.stdout.flush()
    assert capfdbinary.readouterr().out.count(b"\r\n") == 4


@pytest.mark.django_db
def test_bad_input(batch: Batch, tmp_path: Path) -> None:
    for arguments, sentence in [
        ((9_999, tmp_path / "a.csv"), "There is no batch 9999."),
        ((batch.pk, tmp_path / "none" / "a.csv"), "does not exist"),
        ((batch.pk, tmp_path), "is a folder"),
        ((batch.pk, tmp_path / "a.xlsx"), "a.xlsx ends neither in .csv nor in .jsonl."),
        ((batch.pk, "-"), "--format csv"),
        ((make_batch(None).pk, tmp_path / "a.csv"), "was adopted"),
    ]:
        with pytest.raises(CommandError, match=sentence) as refused:
            export_batch(*arguments)
        assert refused.value.returncode == 2
    assert not list(tmp_path.glob("*.csv"))


@pytest.mark.django_db(transaction=True)
def test_reader_that_stops_early(tmp_path: Path) -> None:
    rows = table_rows(*(["x" * 1_000] for _ in range(2_000)))
    batch = make_batch(make_upload(["review"], rows))
    command = [sys.executable, "manage.py", "export_batch", str(batch.pk), "-", "--format", "csv"]
    with subprocess.Popen(
        command, cwd=settings.BASE_DIR, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(6) == b"review"
        process.stdout.close()
        said = process.stderr.read()
    assert process.returncode == 1
    assert said == b""
