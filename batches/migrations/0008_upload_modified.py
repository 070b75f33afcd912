from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("batches", "0007_batch_deleting")]

    operations = [
        migrations.AddField(
            model_name="upload",
            name="modified",
            field=models.BigIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="upload",
            name="state",
            field=models.CharField(
                choices=[
                    ("receiving", "Receiving"),
                    ("queued", "Queued"),
                    ("ready", "Ready"),
                    ("refused", "Refused"),
                    ("deleting", "Deleting"),
                ],
                default="receiving",
                max_length=10,
            ),
        ),
    ]
