from datetime import timedelta

import pytest

from batches import refreshing
from batches.models import Batch
from tests.batches.stage import make_batch, make_workspace, now
from tests.scripted_api import Reply, refusal
from workspaces.models import ApiKey

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
MODELS = "/v1/models"
DAY = timedelta(days=1)


@pytest.fixture
def key(key):
    """As a person has just saved it: its models are not read yet."""
    ApiKey.objects.update(models_read_at=None)
    return key


def test_it_works(at_sandbox, key):
    assert refreshing.step(now())
    key.refresh_from_db()
    limits = {model["id"]: model["max_tokens"] for model in key.models}
    assert limits["claude-haiku-4-5-20251001"] == 64_000
    assert key.models_read_at is not None
    assert (key.lease_until, key.accepted_at is None) == (None, False)


def test_once_a_day(at_sandbox, key):
    at = now()
    assert refreshing.step(at)
    assert not refreshing.step(at + DAY / 2)
    assert refreshing.step(at + DAY)


def test_an_api_that_does_not_answer_is_asked_again_soon(api, key):
    ApiKey.objects.update(models=[{"id": "claude-x"}])
    api.plan("GET", MODELS, refusal(529, "overloaded_error", "Overloaded"))
    at = now()
    assert refreshing.step(at)
    key.refresh_from_db()
    assert key.models == [{"id": "claude-x"}]
    assert not refreshing.step(at + timedelta(minutes=4))
    api.plan("GET", MODELS, Reply({"data": [], "has_more": False}))
    assert refreshing.step(at + timedelta(minutes=6))


def test_a_refused_key_says_so(api, key):
    api.plan("GET", MODELS, refusal(401, "authentication_error", "API key is invalid."))
    assert refreshing.step(now())
    key.refresh_from_db()
    assert "API key is invalid" in key.refused
    assert not refreshing.step(now())


def test_a_key_that_may_not_list_models_may_send(api, key):
    api.plan("GET", MODELS, refusal(403, "permission_error", "Not this endpoint."))
    assert refreshing.step(now())
    key.refresh_from_db()
    assert (key.refused, key.paused_until) == ("", None)


def test_an_api_without_an_address_is_not_asked(settings, workspace):
    settings.SANDBOX_URL = ""
    ApiKey.seal(workspace, "sandbox", "sk-ant-scripted-key")
    assert refreshing.step(now())
    assert not refreshing.step(now())


def test_only_the_key_of_the_batchs_workspace(api, key):
    other = make_batch(make_workspace("other"))
    assert not refreshing.step(now(), Batch.objects.get(pk=other.pk))
