from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0011_stop_waiting")]

    operations = [
        migrations.AddField(
            model_name="messagebatch",
            name="delete_requested_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
