import pytest
from django.apps import apps
from django.db import connection, transaction

from leases.models import Lease
from tests.leases.conftest import NOON

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
LEASED = [model for model in apps.get_models() if issubclass(model, Lease)]


@pytest.mark.parametrize("model", LEASED, ids=lambda model: model.__name__)
def test_the_planner_finds_due_rows_by_the_index(model):
    query = model._default_manager.due(NOON).order_by("due_at")[:16]
    with transaction.atomic():
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                # An empty table is read faster without any index.
                cursor.execute("SET LOCAL enable_seqscan = off")
        plan = query.explain()
    assert f"{model._meta.app_label}_{model._meta.model_name}_due" in plan
    assert "TEMP B-TREE" not in plan


def test_there_are_leased_models():
    assert {"ApiKey", "Upload", "Run", "MessageBatch"} <= {model.__name__ for model in LEASED}
