from django.db import migrations

from batches.models.fields import OrderedJsonField


class Migration(migrations.Migration):
    dependencies = [("batches", "0008_upload_modified")]

    operations = [
        migrations.AlterField("batch", "recipe", OrderedJsonField(default=dict)),
        migrations.AlterField("batch", "typed", OrderedJsonField(default=dict)),
        migrations.AlterField("run", "recipe", OrderedJsonField()),
    ]
