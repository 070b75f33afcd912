"""`manage.py run_batch`, called as a shell calls it."""

import contextlib
import csv
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from batches.models import Batch, Run, Upload
from tests.batches.operator import Operator, read_table, write_table
from tests.processes import ROOT, Sandbox
from workspaces.models import ApiKey, Workspace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def api(sandbox: Sandbox, scope: str, settings, tmp_path: Path) -> Operator:
    """The sandbox stands for the Claude API, as it does for somebody who sets CLAUDE_API_URL."""
    settings.CLAUDE_API_URL = sandbox.url
    settings.ANTHROPIC_API_KEY = scope
    operator = Operator(sandbox.url, scope, tmp_path)
    operator.settings(batch_seconds=0.2)
    return operator


@pytest.fixture
def table(tmp_path: Path) -> Path:
    write_table(tmp_path / "table.csv", 12)
    return tmp_path / "table.csv"


def run_batch(
    *arguments: object, model: str = "claude-haiku-4-5", prompt: str = "Say {{text}}"
) -> int:
    """The exit code; what is said goes to the real stdout and stderr."""
    recipe = ["--model", model, "--prompt", prompt] if model else []
    try:
        call_command("run_batch", *map(str, arguments), *recipe)
    except SystemExit as ended:
        return int(ended.code or 0)
    except CommandError as refused:
        sys.stdout.write(f"{refused}\n")
        return refused.returncode
    return 0


def test_it_works(api: Operator, table: Path, tmp_path: Path, capsys) -> None:
    output = tmp_path / "out.csv"
    assert run_batch(table, "--id-column", "id", "--output", output) == 0
    rows = read_table(output)
    assert [row["custom_id"] for row in rows] == [f"r{number}" for number in range(12)]
    assert all(row["result"] == "succeeded" and row["text"] for row in rows)
    assert rows[3]["text"] != rows[4]["text"] or "3" in rows[3]["text"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines()[-1] == f"Batch {Batch.objects.get().pk} has ended: 12 succeeded."
    assert api.times_sent() == dict.fromkeys(range(2, 14), 1)


def test_a_workspace_and_its_key_are_made_on_an_empty_database(api: Operator, table: Path) -> None:
    assert run_batch(table) == 0
    workspace = Workspace.objects.get()
    assert workspace.slug == "default"
    key = ApiKey.objects.get()
    assert (key.api, key.last4, key.workspace) == ("claude", api.key[-4:], workspace)
    assert api.key not in key.secret


def test_the_id_stands_on_stderr_before_anything_is_sent(api, table, capsys) -> None:
    assert run_batch(table) == 0
    lines = capsys.readouterr().err.splitlines()
    number = Batch.objects.get().pk
    assert lines[0] == (
        f"Batch {number}: table, claude-haiku-4-5. "
        f"If this stops: manage.py run_batch --resume {number}"
    )
    assert "was sent" not in lines[0]


def test_no_wait_prints_the_id_alone(api: Operator, table: Path, capsys) -> None:
    assert run_batch(table, "--no-wait") == 0
    assert capsys.readouterr().out == f"{Batch.objects.get().pk}\n"
    assert api.creates() == []


def test_problems_refuse_the_file_and_leave_nothing(api: Operator, tmp_path: Path, capsys) -> None:
    path = tmp_path / "broken.csv"
    path.write_text("id,text\n1,a\n2,b,c\n1,d\n,e\n")
    assert run_batch(path, "--id-column", "id") == 2
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert [line.split(":")[0].split(",")[0] for line in lines[:3]] == ["Row 3", "Row 4", "Row 5"]
    assert "3 of 4 rows have problems" in said.out
    assert not Batch.objects.exists()
    assert not Upload.objects.exists()
    assert api.creates() == []


def test_leave_out_sends_the_others(api: Operator, tmp_path: Path) -> None:
    path, output = tmp_path / "broken.csv", tmp_path / "out.csv"
    path.write_text("id,text\n1,a\n2,b,c\n3,d\n")
    assert run_batch(path, "--leave-out", "--output", output) == 1
    assert [row["result"] for row in read_table(output)] == ["succeeded", "left_out", "succeeded"]
    batch = Batch.objects.get()
    assert (batch.rows, batch.left_out, batch.sent, batch.succeeded) == (3, 1, 2, 2)


def test_an_unknown_column_names_the_nearest(api: Operator, table: Path, capsys) -> None:
    assert run_batch(table, prompt="Say {{txt}}") == 2
    assert "Did you mean `text`?" in capsys.readouterr().err


def test_more_tokens_than_the_model_gives_are_refused(api, table, tmp_path, capsys) -> None:
    assert run_batch(table, "--max-tokens", 10**9) == 2
    assert "Write a whole number from 1 to 64,000" in capsys.readouterr().err
    path, output = tmp_path / "ready.jsonl", tmp_path / "out.jsonl"
    line = '{"custom_id":"r%d","params":{"model":"claude-haiku-4-5","max_tokens":%d,%s}}\n'
    messages = '"messages":[{"role":"user","content":"Hi"}]'
    path.write_text(line % (1, 64_000, messages) + line % (2, 64_001, messages))
    assert run_batch(path, model="") == 2
    assert "Line 2: max_tokens is 64,001" in capsys.readouterr().err
    assert run_batch(path, "--leave-out", "--output", output, model="") == 1
    kinds = [json.loads(line)["result"]["type"] for line in output.read_text().splitlines()]
    assert kinds == ["succeeded", "left_out"]


def test_a_model_that_is_not_in_the_list_is_sent_with_a_word(api, table, capsys) -> None:
    assert run_batch(table, model="claude-next") == 0
    said = capsys.readouterr().err
    assert "claude-next is not in the list of models of this key." in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["missing.csv"], "missing.csv is not a file."),
        ([], "Name a FILE"),
        (["--resume", "4711"], "There is no batch 4711 here."),
        (["--output", "out.xlsx"], "--output: out.xlsx ends neither in .csv nor in .jsonl."),
        (["--output", str(ROOT)], "is a folder. Name a file in it."),
        (["--output", "nowhere/out.csv"], "The folder nowhere does not exist."),
    ],
)
def test_bad_arguments_are_refused(api: Operator, arguments: list[str], said: str, capsys) -> None:
    assert run_batch(*arguments) == 2
    assert said in capsys.readouterr().out


def test_a_table_without_a_recipe_is_refused(api: Operator, table: Path, capsys) -> None:
    assert run_batch(table, model="") == 2
    assert "A table needs --model and --prompt." in capsys.readouterr().out
    assert not Batch.objects.exists()


def test_ready_requests_go_as_they_are(api: Operator, tmp_path: Path) -> None:
    path, output = tmp_path / "ready.jsonl", tmp_path / "out.jsonl"
    params = {"model": "claude-haiku-4-5", "max_tokens": 50, "messages": []}
    lines = [
        {
            "custom_id": f"mine-{n}",
            "params": params | {"messages": [{"role": "user", "content": f"{n} 好"}]},
        }
        for n in range(3)
    ]
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert run_batch(path, "--output", output, model="") == 0
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    assert [answer["custom_id"] for answer in answers] == ["mine-0", "mine-1", "mine-2"]
    assert {answer["result"]["type"] for answer in answers} == {"succeeded"}


def test_the_same_file_with_the_same_recipe_is_refused_while_it_runs(api, table, capsys) -> None:
    assert run_batch(table, "--no-wait") == 0
    number = Batch.objects.get().pk
    assert run_batch(table, "--no-wait") == 2
    said = capsys.readouterr().out
    assert f"--resume {number}" in said
    assert "--again" in said
    assert run_batch(table, "--no-wait", prompt="Another {{text}}") == 0
    assert run_batch(table, "--no-wait", "--again") == 0
    assert Batch.objects.count() == 3


def test_resume_brings_a_queued_batch_to_its_end(api, table, tmp_path: Path) -> None:
    assert run_batch(table, "--no-wait") == 0
    output = tmp_path / "out.csv"
    assert run_batch("--resume", Batch.objects.get().pk, "--output", output, model="") == 0
    assert len(read_table(output)) == 12
    assert run_batch("--resume", Batch.objects.get().pk, model="") == 0
    assert len(api.creates()) == 1


def test_the_first_rows_and_a_sample(api: Operator, table: Path) -> None:
    assert run_batch(table, "--rows", 3) == 0
    assert api.times_sent() == {2: 1, 3: 1, 4: 1}
    assert run_batch(table, "--sample", 5) == 0
    assert sum(api.times_sent().values()) == 8


def test_part_size_cuts_and_sizes_differ(api: Operator, table: Path) -> None:
    assert run_batch(table, "--part-size", 4) == 0
    assert sorted(create["size"] for create in api.creates()) == [3, 4, 5]


def test_failures_of_rows_end_with_1(api: Operator, tmp_path: Path, capsys) -> None:
    api.settings(failure_rate=1)
    write_table(tmp_path / "table.csv", 40)
    assert run_batch(tmp_path / "table.csv", "--output", tmp_path / "out.csv") == 1
    rows = read_table(tmp_path / "out.csv")
    errors = [row["error"] for row in rows if row["result"] == "errored"]
    assert errors
    said = capsys.readouterr().err.splitlines()
    reasons = [line for line in said if line.startswith("  ")]
    assert any(errors[0] in reason for reason in reasons)
    assert f"{len(errors)} errored" in said[-1 - len(reasons)]


def test_an_output_that_fails_is_for_a_person(api: Operator, table: Path, capsys) -> None:
    assert run_batch(table, "--output", "/proc/out.csv") == 3
    said = capsys.readouterr().err
    assert "/proc/out.csv was not written" in said
    assert f"manage.py export_batch {Batch.objects.get().pk} /proc/out.csv" in said


def test_a_refused_key_is_for_a_person(api: Operator, table: Path, settings, capsys) -> None:
    settings.ANTHROPIC_API_KEY = "sk-ant-revoked-1"
    assert run_batch(table) == 3
    assert "401" in capsys.readouterr().err
    assert Batch.objects.get().not_sent == 0


def test_without_a_key_nothing_begins(api: Operator, table: Path, settings, capsys) -> None:
    settings.ANTHROPIC_API_KEY = ""
    assert run_batch(table) == 3
    assert "Set ANTHROPIC_API_KEY" in capsys.readouterr().out
    assert not Upload.objects.exists()


def test_the_stored_key_wins_and_a_warning_says_so(api: Operator, table, settings, capsys) -> None:
    assert run_batch(table) == 0
    settings.ANTHROPIC_API_KEY = "sk-ant-other-9999"
    assert run_batch(table, "--again") == 0
    said = capsys.readouterr().err
    assert "ANTHROPIC_API_KEY is not used" in said
    assert "sk-ant" not in said
    assert len(api.creates()) == 2


def test_one_of_several_workspaces_must_be_named(api: Operator, table: Path, capsys) -> None:
    Workspace.objects.create(name="One", slug="one")
    Workspace.objects.create(name="Two", slug="two")
    assert run_batch(table) == 2
    assert "There are: one, two." in capsys.readouterr().out
    assert run_batch(table, "--workspace", "two") == 0
    assert Batch.objects.get().workspace.slug == "two"


def test_a_batch_of_another_workspace_is_not_resumed(api: Operator, table: Path, capsys) -> None:
    assert run_batch(table, "--no-wait") == 0
    Workspace.objects.create(name="Two", slug="two")
    assert run_batch("--resume", Batch.objects.get().pk, "--workspace", "two", model="") == 2


@pytest.mark.both_databases
def test_ctrl_c_leaves_it_to_be_resumed(api: Operator, table: Path) -> None:
    api.settings(batch_seconds=60)
    process = api.start("run_batch", str(table), "--model", "claude-x", "--prompt", "Say {{text}}")
    while not api.creates():
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130, said
    number = re.search(r"--resume (\d+)", said)[1]
    assert f"Go on: manage.py run_batch --resume {number}" in said
    assert Run.objects.get().state == Run.State.BUILT


@pytest.mark.both_databases
def test_a_file_of_many_kinds_of_text_comes_back_whole(api: Operator, tmp_path: Path) -> None:
    path, output = tmp_path / "alt.csv", tmp_path / "out.csv"
    cells = [["1", 'Er sagte "nein"; dann ging er'], ["2", "zwei\nZeilen"], ["3", "Ärger für 5 €"]]
    with path.open("w", newline="", encoding="cp1252") as file:
        csv.writer(file, delimiter=";").writerows([["id", "der Text"], *cells])
    assert run_batch(path, prompt="Sag {{der Text}}") == 2
    arguments = ["--encoding", "cp1252", "--id-column", "id", "--output", output]
    assert run_batch(path, *arguments, prompt="Sag {{der Text}}") == 0
    rows = read_table(output)
    assert [[row["id"], row["der Text"]] for row in rows] == cells
    assert all(row["result"] == "succeeded" for row in rows)


def test_a_terminal_shows_a_bar_of_the_parts(api: Operator, table: Path) -> None:
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (40, 120))
    recipe = ["--model", "claude-x", "--prompt", "Say {{text}}"]
    process = subprocess.Popen(
        [sys.executable, "manage.py", "run_batch", str(table), *recipe, "--part-size", "6"],
        cwd=ROOT,
        env=api.environment,
        stdin=subprocess.DEVNULL,
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    said = read_screen(screen)
    assert process.wait(10) == 0, said
    assert "0 of 2 parts ended |" in said
    assert "0 of 12 answered" in said
    assert "%" not in said
    assert "\x1b[31" not in said, "news is not red"


def read_screen(screen: int) -> str:
    """All that a program shows on its terminal until it ends."""
    with open(screen, "rb", buffering=0) as file:
        seen = b""
        with contextlib.suppress(OSError):  # what Linux answers once the other side is closed
            while part := file.read(4096):
                seen += part
    return seen.decode()
