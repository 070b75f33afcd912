import pytest
from cryptography.fernet import Fernet

from batches.asking import questions
from batches.models import Batch, Run
from tests.batches.stage import make_batch, make_part, make_workspace, now
from workspaces.models import ApiKey

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def batch(settings, workspace):
    settings.SANDBOX_URL = "http://127.0.0.1:1"
    ApiKey.seal(workspace, "sandbox", "sk-ant-scripted-key")
    return make_batch(workspace)


def ask(batch):
    return list(questions(Batch.objects.get(pk=batch.pk)))


def test_it_works(batch):
    reason = "We do not know whether it was created: it broke."
    part = make_part(batch, state="unknown", listings=16, settled_at=now(), reason=reason)
    [question] = ask(batch)
    assert (question.part, question.size) == (part.pk, 5)
    assert question.sentence == (
        f"Part 1 (5 requests, rows 2 to 6): {reason} It was looked for 16 times. "
        "It was not found at the API."
    )


def test_set_aside_before_it_was_looked_for_to_the_end(batch):
    """Nobody is led to send again what may still be found."""
    make_part(batch, state="unknown", crashes=3, listings=1)
    [question] = ask(batch)
    assert question.part == 0
    assert "is set aside" in question.sentence
    assert "not found at the API" not in question.sentence


def test_batch_that_may_be_ours_is_named(batch):
    candidates = [{"id": "msgbatch_1", "ours": None}, {"id": "msgbatch_2", "ours": False}]
    make_part(batch, state="unknown", settled_at=now(), candidates=candidates)
    [question] = ask(batch)
    assert "msgbatch_1" in question.sentence
    assert "msgbatch_2" not in question.sentence
    assert "not found at the API" not in question.sentence


@pytest.mark.parametrize("state", ["queued", "sending", "unknown", "submitted", "stored", "lost"])
def test_nothing_to_ask(batch, state):
    make_part(batch, state=state)
    assert ask(batch) == []


def test_answered_questions_are_asked_no_more(batch):
    make_part(batch, state="dropped", settled_at=now())
    assert ask(batch) == []


def test_what_crashed_workers_is_said(batch):
    make_part(batch, crashes=3)
    Run.objects.create(batch=batch, token="1", state="queued", recipe={}, crashes=3)
    sentences = [question.sentence for question in ask(batch)]
    assert len(sentences) == 2
    assert sentences[0].startswith(f"Part 1 of batch {batch.pk} stopped 3 workers")
    assert sentences[1].startswith("Run ")


@pytest.mark.parametrize("kind", ["key", "spend_limit"])
def test_refused_key(batch, kind):
    make_part(batch)
    ApiKey.objects.update(refused="The API answers 401.", refused_type=kind)
    [question] = ask(batch)
    assert question.part == 0
    assert question.sentence.startswith("The API answers 401. Nothing is lost")


def test_refused_key_comes_with_the_commands_that_mend_it(batch):
    make_part(batch)
    ApiKey.objects.update(refused="The API answers 401.", refused_type="key")
    [question] = ask(batch)
    assert question.sentence == "The API answers 401. Nothing is lost."
    assert question.in_a_shell == (
        f"Save a key that works: manage.py add_key {batch.workspace.slug}, then: "
        f"manage.py run_batch --resume {batch.pk}"
    )


def test_refused_key_that_nothing_waits_for(batch):
    make_part(batch, state="stored")
    ApiKey.objects.update(refused="The API answers 401.", refused_type="key")
    assert ask(batch) == []


def test_missing_key(batch):
    make_part(batch)
    ApiKey.objects.update(retired_at=now())
    [question] = ask(batch)
    assert question.sentence == "The workspace Acme has no API key. Save one to go on."


def test_key_for_another_api_than_the_one_it_was_sent_to(batch):
    make_part(batch, state="submitted", api="claude")
    [question] = ask(batch)
    assert question.sentence == (
        "The workspace's key is for the Sandbox, and the batch was sent to the Claude API. "
        "Save a key for it to go on."
    )


def test_sandbox_without_an_address(settings, batch):
    make_part(batch)
    settings.SANDBOX_URL = ""
    assert "SANDBOX_URL is not set" in ask(batch)[0].sentence


def test_key_that_cannot_be_opened(settings, batch):
    make_part(batch)
    settings.ENCRYPTION_KEYS = [Fernet.generate_key().decode()]
    [question] = ask(batch)
    assert question.sentence.startswith("The stored API key cannot be decrypted")


def test_key_that_stopped_three_workers(batch):
    make_part(batch)
    ApiKey.objects.update(crashes=3)
    [question] = ask(batch)
    assert question.sentence.startswith("Sandbox key ending ")
    assert "stopped 3 workers" in question.sentence


def test_other_batches_questions_are_not_asked(batch):
    other = make_batch(make_workspace("other"))
    make_part(other, state="unknown", settled_at=now())
    assert ask(batch) == []
