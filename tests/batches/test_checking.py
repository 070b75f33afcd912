from datetime import timedelta

import pytest
from django.contrib.auth.models import User

from batches import checking
from batches.models import Batch
from tests.batches.stage import make_batch, make_part, make_workspace, now
from tests.scripted_api import Reply, refusal
from workspaces.key_checks import ask_for_live, ask_for_new, make_live
from workspaces.models import ApiKey, Event, KeyCheck

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
MODELS = "/v1/models"
NEW = "sk-ant-scripted-newf3Qa"
MINUTE = timedelta(minutes=1)
NO_MODELS = Reply({"data": [], "has_more": False})


@pytest.fixture
def mei(workspace):
    return User.objects.create_user("mei")


def ask(workspace, mei, secret=NEW):
    return ask_for_new(workspace, "sandbox", secret, actor=mei)


def answered(check):
    check.refresh_from_db()
    return check.state, check.sentence


def test_a_key_that_works_takes_the_place_of_the_old_one(at_sandbox, workspace, key, mei):
    secret = at_sandbox.secret + "-new1"
    check = ask(workspace, mei, secret)
    assert checking.step(now())
    assert answered(check) == ("works", "")
    assert check.model_count > 5
    assert check.secret == ""
    live = workspace.live_key()
    assert (live.reveal(), live.last4, live.created_by) == (secret, "new1", mei)
    assert live.accepted_at is not None
    assert len(live.models) == check.model_count
    key.refresh_from_db()
    assert key.retired_at is not None
    assert Event.objects.get().sentence == "Sandbox key ending new1 saved."
    assert not checking.step(now())


def test_a_refused_key_leaves_nothing_behind(api, workspace, key, mei):
    api.plan("GET", MODELS, refusal(401, "authentication_error", "API key is invalid."))
    check = ask(workspace, mei)
    assert checking.step(now())
    state, sentence = answered(check)
    assert state == "refused"
    assert "API key is invalid" in sentence
    assert check.secret == ""
    assert workspace.live_key() == key
    key.refresh_from_db()
    assert key.refused == ""


def test_an_api_out_of_reach_is_tried_for_a_while(api, workspace, key, mei):
    check = ask(workspace, mei)
    at = now()
    for minutes in (0, 1, 9):
        api.plan("GET", MODELS, refusal(529, "overloaded_error", "Overloaded"))
        assert checking.step(at + minutes * MINUTE)
        assert answered(check)[0] == "checking"
        assert not checking.step(at + minutes * MINUTE + timedelta(seconds=1))
    assert "Overloaded" in check.sentence
    api.plan("GET", MODELS, refusal(529, "overloaded_error", "Overloaded"))
    assert checking.step(at + 11 * MINUTE)
    state, sentence = answered(check)
    assert state == "unreachable"
    assert sentence.startswith("The API could not be reached for 10 minutes. ")
    assert "Overloaded" in sentence
    assert check.secret == ""
    assert workspace.live_key() == key


def test_a_key_that_lists_no_models_works_when_it_lists_batches(api, workspace, mei):
    forbidden = refusal(403, "permission_error", "Not this endpoint.")
    api.plan("GET", MODELS, forbidden)
    api.plan("GET", "/v1/messages/batches", NO_MODELS)
    check = ask(workspace, mei)
    assert checking.step(now())
    assert answered(check) == ("works", "")
    assert check.model_count is None
    api.plan("GET", MODELS, forbidden)
    api.plan("GET", "/v1/messages/batches", forbidden)
    check = ask(workspace, mei)
    assert checking.step(now())
    assert answered(check)[0] == "refused"


def test_what_is_open_elsewhere_is_told_before_anything_is_replaced(api, workspace, key, mei):
    batch = make_batch(workspace, ["one"] * 4)
    make_part(batch, 1, "submitted", account="wrkspc_old", message_batch_id="a")
    make_part(batch, 1, "submitted", api="claude", message_batch_id="b")
    make_part(batch, 1, "submitted", account="wrkspc_new", message_batch_id="c")
    make_part(batch, 1, "queued", account="wrkspc_old")
    api.plan(
        "GET", MODELS, Reply(NO_MODELS.content, headers={"anthropic-workspace-id": "wrkspc_new"})
    )
    check = ask(workspace, mei)
    assert checking.step(now())
    assert answered(check)[0] == "elsewhere"
    assert check.open_elsewhere == 2
    assert workspace.live_key() == key
    assert make_live(check, now()).reveal() == NEW
    assert answered(check)[0] == "works"
    assert make_live(KeyCheck(pk=check.pk, workspace=workspace, secret=key.secret), now()) is None


def test_two_owners_who_decide_at_once_save_the_key_once(api, workspace, key, mei):
    KeyCheck.objects.filter(pk=ask(workspace, mei).pk).update(state="elsewhere")
    first, second = KeyCheck.objects.get(), KeyCheck.objects.get()
    assert make_live(first, now()).reveal() == NEW
    assert make_live(second, now()) is None
    assert workspace.api_keys.count() == 2
    assert Event.objects.get().sentence == "Sandbox key ending f3Qa saved."


def test_a_key_that_stops_workers_is_given_up(api, workspace, key, mei):
    check = ask(workspace, mei)
    at = now()
    KeyCheck.objects.update(owner="dead", lease_until=at + MINUTE, fence=3, crashes=3)
    assert not checking.step(at)
    assert answered(check)[0] == "checking"
    other = make_batch(make_workspace("other"))
    assert not checking.step(at + MINUTE, other)
    assert checking.step(at + MINUTE)
    state, sentence = answered(check)
    assert (state, check.secret) == ("unreachable", "")
    assert sentence == "Trying it stopped 3 workers. Look into the worker's log for why."
    assert workspace.live_key() == key
    assert not checking.step(at + MINUTE)


def test_the_live_key_is_looked_at_again(api, workspace, key, mei):
    ApiKey.objects.update(refused="No.", refused_type="key", paused_until=now() + MINUTE)
    check = ask_for_live(workspace, actor=mei)
    api.plan("GET", MODELS, NO_MODELS)
    assert checking.step(now())
    assert answered(check) == ("works", "")
    key.refresh_from_db()
    assert (key.refused, key.paused_until, key.retired_at) == ("", None, None)
    api.plan("GET", MODELS, refusal(401, "authentication_error", "API key is invalid."))
    check = ask_for_live(workspace, actor=mei)
    assert checking.step(now())
    key.refresh_from_db()
    assert "API key is invalid" in key.refused


def test_a_check_that_was_dropped_finds_nothing_to_write_to(api, workspace, key, mei):
    check = ask(workspace, mei)
    again = ask(workspace, mei, NEW + "2")
    assert make_live(check, now()) is None
    assert workspace.live_key() == key
    assert KeyCheck.objects.get() == again


def test_without_an_address_nothing_is_asked(settings, workspace, mei):
    settings.SANDBOX_URL = ""
    check = ask(workspace, mei)
    assert checking.step(now())
    assert answered(check)[0] == "refused"
    assert "SANDBOX_URL is not set" in check.sentence


def test_only_the_key_of_the_batchs_workspace(api, workspace, mei):
    ask(workspace, mei)
    other = make_batch(make_workspace("other"))
    assert not checking.step(now(), Batch.objects.get(pk=other.pk))
