"""Following one Batch from a shell."""

import threading

import pytest
from django.db import transaction
from django.utils import timezone

from batches.following import follow
from batches.models import MessageBatch
from tests.batches.stage import make_batch, make_part
from workspaces.models import ApiKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


def make_ended(workspace):
    batch = make_batch(workspace)
    make_part(batch, state="stored")
    with transaction.atomic():
        batch.recount()
    return batch


def told(batch, enough):
    """What is said until `enough` sentences are, or nothing more is to do."""
    sentences, stop = [], threading.Event()

    def say(sentence):
        sentences.append(sentence)
        if len(sentences) == enough:
            stop.set()

    return follow(batch, stop, say), sentences


def test_it_works(api, workspace):
    batch = make_ended(workspace)
    assert told(batch, 1) == ([], [])
    assert batch.final


def test_what_holds_it_up_is_said_once(settings, workspace):
    settings.SANDBOX_URL = "http://127.0.0.1:1"
    ApiKey.seal(workspace, "sandbox", "sk-ant-scripted-key")
    batch = make_batch(workspace)
    part = make_part(batch)
    asked, sentences = told(batch, 1)
    assert asked == []
    [sentence] = sentences
    assert sentence.startswith("Part 1: Nothing was sent to 127.0.0.1")
    part.refresh_from_db()
    assert part.due_at > timezone.now()


def test_a_question_ends_it(settings, workspace):
    batch = make_batch(workspace)
    make_part(batch)
    [question], _ = told(batch, 100)
    assert question.sentence.startswith("The workspace Acme has no API key.")


def test_other_batches_are_left_alone(settings, workspace):
    settings.SANDBOX_URL = "http://127.0.0.1:1"
    ApiKey.seal(workspace, "sandbox", "sk-ant-scripted-key")
    other = make_part(make_batch(workspace))
    told(make_ended(workspace), 1)
    other.refresh_from_db()
    assert (other.state, other.attempts) == (MessageBatch.State.QUEUED, 0)
