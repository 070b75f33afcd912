from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("batches", "0006_estimate")]

    operations = [
        migrations.AddIndex(
            model_name="batch",
            index=models.Index(
                condition=Q(("deleting_at__isnull", False)),
                fields=["deleting_at"],
                name="batch_deleting",
            ),
        ),
    ]
