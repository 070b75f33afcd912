from django.db import migrations, models
from django.db.models import Count, F, Q

ORDINARY = ["", "end_turn", "stop_sequence", "tool_use"]


def find_concerns(apps, schema_editor):
    """What collecting writes from now on, for the answers that are here already."""
    Result = apps.get_model('batches', 'Result')
    errored = Result.objects.filter(type='errored')
    errored.exclude(error_type='').update(concern=F('error_type'))
    errored.filter(error_type='').update(concern='unnamed')
    succeeded = Result.objects.filter(type='succeeded')
    succeeded.exclude(stop_reason__in=ORDINARY).update(concern=F('stop_reason'))
    said = ['succeeded', 'errored', 'canceled', 'expired', 'missing']
    Result.objects.exclude(type__in=said).update(concern=F('type'))
    for batch in apps.get_model('batches', 'Batch').objects.all().iterator():
        count_concerns(batch, Result)


def count_concerns(batch, Result):
    total = {}
    for part in batch.message_batches.exclude(state='building'):
        part.concerns = {}
        span = Q(pk__gte=part.pk << 17, pk__lt=(part.pk + 1) << 17)
        found = Result.objects.filter(span, retried_in=None, concern__isnull=False)
        grouped = found.values_list('type', 'concern').annotate(Count('pk')).order_by()
        for kind, concern, number in grouped:
            part.concerns.setdefault(kind, {})[concern] = number
            sums = total.setdefault(kind, {})
            sums[concern] = sums.get(concern, 0) + number
        part.save(update_fields=['concerns'])
    batch.concerns = total
    batch.save(update_fields=['concerns'])


class Migration(migrations.Migration):

    dependencies = [
        ('batches', '0004_upload_replaces'),
    ]

    operations = [
        migrations.AddField(
            model_name='batch',
            name='concerns',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='messagebatch',
            name='concerns',
            field=models.JSONField(default=dict),
        ),
        migrations.AddField(
            model_name='result',
            name='concern',
            field=models.CharField(blank=True, max_length=60, null=True),
        ),
        migrations.RunPython(find_concerns, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name='result',
            index=models.Index(condition=models.Q(('concern__isnull', False), ('retried_in', None)), fields=['batch', 'concern', 'row'], name='result_batch_concern_row'),
        ),
    ]
