"""The table of the database cache: the limits on sign-in are counted in it."""

from django.conf import settings
from django.core.management import call_command
from django.db import migrations


def cache_tables():
    return [
        cache["LOCATION"]
        for cache in settings.CACHES.values()
        if cache["BACKEND"] == "django.core.cache.backends.db.DatabaseCache"
    ]


def create(apps, schema_editor):
    alias = schema_editor.connection.alias
    call_command("createcachetable", *cache_tables(), database=alias, verbosity=0)


def drop(apps, schema_editor):
    for table in cache_tables():
        schema_editor.execute(f"DROP TABLE IF EXISTS {schema_editor.quote_name(table)}")


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0001_initial")]

    operations = [migrations.RunPython(create, drop)]
