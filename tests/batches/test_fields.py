import msgspec
import pytest
from django.core import serializers
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from batches import starting
from batches.models import Batch, Run
from batches.planning import Selection
from batches.recipe import Recipe
from tests.batches.stage import make_batch, make_workspace, now

pytestmark = pytest.mark.both_databases
# Neither by length nor by the alphabet, as jsonb would have it.
NAMES = ["theme", "a", "zeal", "confidence", "b"]
SCHEMA = {"type": "object", "properties": {name: {"type": "string"} for name in NAMES}}
RECIPE = Recipe(
    model="claude-haiku-4-5",
    prompt="Ä {{text}}",
    tools=[{"name": "look_up", "input_schema": SCHEMA}],
    output_format=SCHEMA,
)


@pytest.mark.django_db
def test_the_properties_of_an_output_format_keep_their_order() -> None:
    batch = make_batch(make_workspace(), ["one"])
    batch.recipe = msgspec.to_builtins(RECIPE)
    batch.save()
    starting.start(Batch.objects.get(), Selection(), now())
    for kept in (Batch.objects.get().recipe, Run.objects.get().recipe):
        assert kept == msgspec.to_builtins(RECIPE)
        assert list(kept["output_format"]["properties"]) == NAMES
        assert list(kept["tools"][0]["input_schema"]["properties"]) == NAMES
    assert not Batch.objects.exclude(recipe=batch.recipe).exists()


@pytest.mark.django_db
def test_a_dump_is_read_again() -> None:
    batch = make_batch(make_workspace())
    [again] = serializers.deserialize("json", serializers.serialize("json", [batch]))
    again.save()
    assert Batch.objects.get().recipe == batch.recipe


@pytest.mark.django_db(transaction=True)
def test_recipes_of_an_older_database_are_kept() -> None:
    before = ("batches", "0008_upload_modified")
    try:
        MigrationExecutor(connection).migrate([before])
        older = MigrationExecutor(connection).loader.project_state([before])
        workspace = make_workspace()
        values = {"workspace_id": workspace.pk, "name": "Old"}
        value = {"prompt": 'Ä "{{text}}"\n', "max_tokens": 16}
        old = older.apps.get_model("batches", "Batch")
        old.objects.create(recipe=value, **values)
        old.objects.create(**values)
    finally:
        executor = MigrationExecutor(connection)
        executor.migrate(executor.loader.graph.leaf_nodes())
    assert [batch.recipe for batch in Batch.objects.order_by("pk")] == [value, {}]
