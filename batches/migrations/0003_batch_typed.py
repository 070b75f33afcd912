from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0002_pages'),
    ]

    operations = [
        migrations.AddField(
            model_name='batch',
            name='typed',
            field=models.JSONField(default=dict),
        ),
    ]
