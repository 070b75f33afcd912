from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0010_decisions'),
    ]

    operations = [
        migrations.AddField(
            model_name='messagebatch',
            name='stop_waiting_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
