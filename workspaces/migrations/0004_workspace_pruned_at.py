from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("workspaces", "0003_key_check")]

    operations = [
        migrations.AddField(
            model_name="workspace",
            name="pruned_at",
            field=models.DateTimeField(blank=True, editable=False, null=True),
        ),
    ]
