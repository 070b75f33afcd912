import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from batches import calling, deciding, polling, refreshing, starting
from batches.asking import questions
from batches.models import Batch
from claude_api import KeyRefused, SpendLimitReached
from leases.models import CRASH_LIMIT
from tests.batches.stage import HOUR, MINUTE, make_batch, make_part, make_workspace, now, remote
from tests.batches.test_polling import make_sent
from tests.scripted_api import Reply, page, refusal
from workspaces.keys import save_key
from workspaces.models import ApiKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
REFUSED = refusal(401, "authentication_error", "invalid x-api-key")


@pytest.fixture
def batch(workspace):
    return make_batch(workspace)


def word_of(batch):
    return Batch.objects.get(pk=batch.pk).state


def refuse(key, kind=KeyRefused, request="req_1"):
    error = kind("No", status=401, type="authentication_error", request_id=request, shaped=True)
    calling.remember_refusal(key, error, now())


def poll(api, answer, at):
    api.plan("GET", "/v1/messages/batches", answer)
    assert polling.step(at)


def test_a_refused_key_needs_a_person_until_it_works(api, batch):
    part = make_sent(batch, "msgbatch_1")
    ended = make_batch(batch.workspace)
    make_part(ended, state="stored")
    assert word_of(batch) == "in_progress"
    poll(api, REFUSED, now())
    assert (word_of(batch), word_of(ended)) == ("needs_you", "ended")
    poll(api, page(remote("msgbatch_1")), now() + HOUR)
    assert word_of(batch) == "in_progress"
    part.move("lost")
    assert word_of(batch) == "ended"


def test_other_workspaces_do_not_hear_of_it(api, batch):
    make_sent(batch, "msgbatch_1")
    other = make_batch(make_workspace("other"))
    make_part(other, state="submitted")
    poll(api, REFUSED, now())
    assert (word_of(batch), word_of(other)) == ("needs_you", "in_progress")


def test_a_refused_key_stays_the_word_when_a_part_changes(api, batch):
    first = make_sent(batch, "msgbatch_1")
    second = make_part(batch)
    poll(api, REFUSED, now())
    first.move("lost")
    assert word_of(batch) == "needs_you"
    second.move("dropped")
    assert word_of(batch) == "ended"


def test_a_spend_limit_stops_only_what_is_not_sent(api, batch, key):
    sent, queued = make_batch(batch.workspace), batch
    make_part(sent, state="submitted")
    make_part(queued)
    refuse(key, SpendLimitReached)
    assert (word_of(sent), word_of(queued)) == ("in_progress", "needs_you")
    calling.forgive(key)
    assert (word_of(sent), word_of(queued)) == ("in_progress", "queued")


def test_trying_again_takes_the_question_back(api, batch, key):
    make_part(batch)
    refuse(key)
    assert word_of(batch) == "needs_you"
    starting.revive(batch)
    assert word_of(batch) == "queued"


@pytest.mark.parametrize("known", [{}, {"accepted_at": now()}], ids=["from a shell", "checked"])
def test_a_key_in_the_place_of_a_refused_one_is_heard_of(api, batch, key, known):
    make_part(batch)
    refuse(key)
    at = known.get("accepted_at") or now()
    save_key(batch.workspace, "sandbox", "sk-ant-scripted-another", at=at, **known)
    assert word_of(batch) == "needs_you"
    api.plan("GET", "/v1/models", Reply({"data": [], "has_more": False}))
    assert refreshing.step(now() + MINUTE)
    assert word_of(batch) == "queued"


def test_a_refusal_that_is_known_costs_no_count(api, batch, key):
    make_part(batch)

    def statements(request):
        with CaptureQueriesContext(connection) as captured:
            refuse(key, request=request)
        return [query["sql"] for query in captured.captured_queries if "batch" in query["sql"]]

    assert statements("req_1")
    assert statements("req_2") == []
    key.refresh_from_db()
    assert "req_2" in key.refused


def test_a_key_that_stopped_three_workers_needs_somebody_at_once(api, batch, key):
    make_sent(batch, "msgbatch_1")
    at = now()
    ApiKey.objects.update(crashes=CRASH_LIMIT - 1, lease_until=at, due_at=at)
    assert not polling.step(at)
    key.refresh_from_db()
    assert (key.is_set_aside, word_of(batch), api.connections) == (True, "needs_you", 0)
    said = f"Asking with the {key} stopped 3 workers: it is set aside. Nothing is lost."
    assert [question.sentence for question in questions(batch)] == [said]
    assert deciding.start_all_again(batch, now()) == 1
    assert word_of(batch) == "in_progress"
    poll(api, page(remote("msgbatch_1")), now() + HOUR)
    assert list(questions(batch)) == []


def test_an_accepted_call_does_not_start_a_key_that_is_set_aside(api, batch, key):
    make_part(batch)
    ApiKey.objects.update(crashes=CRASH_LIMIT)
    polling.step(now())
    key.refresh_from_db()
    with calling.client_for(key) as client:
        calling.remember_account(key, client, now())
    assert word_of(batch) == "needs_you"


def test_a_spend_limit_says_what_goes_on(api, batch, key):
    make_part(batch)
    refuse(key, SpendLimitReached)
    [question] = questions(batch)
    assert question.sentence.endswith(
        "Nothing is lost. Nothing more is sent until the limit is raised; what was sent goes on."
    )
