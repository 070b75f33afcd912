import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0003_batch_typed'),
    ]

    operations = [
        migrations.AddField(
            model_name='upload',
            name='replaces',
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name='replaced_by',
                to='batches.upload',
            ),
        ),
    ]
