import json
import os
import signal
import time

import pytest

from streaming.models import Frame, Turn
from tests.batches.operator import Operator
from tests.streaming.turns import ask_whole, set_pace

pytestmark = pytest.mark.django_db(transaction=True)
ASK = ["stream_message", "--model", "claude-haiku-4-5", "--prompt"]
QUESTION = "Name three rivers and say something of each."


@pytest.fixture
def operator(sandbox, scope, tmp_path):
    return Operator(sandbox.url, scope, tmp_path)


def test_the_text_is_on_stdout_and_the_tokens_on_stderr(operator, sandbox, scope):
    done = operator.run(*ASK, QUESTION, "--system", "Be brief.", "--max-tokens", "50")
    assert done.returncode == 0, done.stderr
    turn = Turn.objects.get()
    message = {"role": "user", "content": QUESTION}
    request = {"model": "claude-haiku-4-5", "max_tokens": 50, "system": "Be brief."}
    whole = ask_whole(sandbox, scope, {**request, "messages": [message]})
    assert done.stdout == whole["content"][0]["text"] + "\n"
    used = f"{whole['usage']['input_tokens']} tokens in, {whole['usage']['output_tokens']} out."
    assert done.stderr.splitlines()[-1] == f"{used} Conversation {turn.conversation_id}."
    assert (turn.state, turn.content) == ("done", whole["content"])
    assert turn.conversation.title == QUESTION
    assert not Frame.objects.exists()


def test_events_are_lines_of_json(operator):
    done = operator.run(*ASK, QUESTION, "--events")
    kinds = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


def test_a_prompt_may_come_from_a_file(operator, tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("Grüße aus Köln?", encoding="utf-8")
    assert operator.run(*ASK, f"@{path}").returncode == 0
    assert Turn.objects.get().prompt[0]["content"] == "Grüße aus Köln?"


def test_ctrl_c_stops_the_answer_and_keeps_what_came(operator, sandbox, scope):
    set_pace(sandbox, scope, 15)
    process = operator.start(*ASK, QUESTION)
    began = os.read(process.stdout.fileno(), 1000).decode()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert "Stopped. What came so far is kept." in err
    turn = Turn.objects.get()
    assert turn.state == "stopped"
    assert began + out == turn.content[0]["text"] + "\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["stream_message", "--model", "m", "--prompt", " "], "The prompt is empty."),
        (["stream_message", "--model", "m", "--prompt", "@/no/such/file"], "cannot be read"),
        ([*ASK, "hi", "--max-tokens", "0"], "not a whole number"),
        ([*ASK, "hi", "--workspace", "nowhere"], "There is no workspace 'nowhere'"),
    ],
)
def test_what_cannot_be_asked_is_refused(operator, arguments, said):
    refused = operator.run(*arguments)
    assert refused.returncode == 2
    assert said in refused.stderr
    assert not Turn.objects.exists()


def test_an_unknown_model_is_said_in_the_words_of_the_api(operator):
    done = operator.run("stream_message", "--model", "gpt-9", "--prompt", "hi")
    assert done.returncode == 1
    assert "404 not_found_error" in done.stderr
    assert Turn.objects.get().state == "failed"


def test_a_killed_answer_is_interrupted_once_its_lease_is_over(operator, sandbox, scope):
    set_pace(sandbox, scope, 15)
    process = operator.start(*ASK, QUESTION)
    process.stdout.read(20)
    time.sleep(0.3)  # until it is stored
    process.kill()
    process.communicate()
    from streaming.following import look

    _, turn = look(Turn.objects.get().pk, 0)
    assert turn.state == "interrupted"
    assert turn.content[0]["text"]
