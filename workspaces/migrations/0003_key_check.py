import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models

import leases.clock


class Migration(migrations.Migration):

    dependencies = [
        ('workspaces', '0002_cache_table'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='KeyCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('owner', models.CharField(blank=True, default='', max_length=100)),
                ('lease_until', models.DateTimeField(blank=True, null=True)),
                ('fence', models.BigIntegerField(default=0)),
                ('crashes', models.PositiveSmallIntegerField(default=0)),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('api', models.CharField(choices=[('claude', 'Claude API'), ('sandbox', 'Sandbox')], editable=False, max_length=10)),
                ('secret', models.TextField(editable=False)),
                ('last4', models.CharField(editable=False, max_length=4)),
                ('is_new', models.BooleanField()),
                ('state', models.CharField(choices=[('checking', 'Checking'), ('works', 'Works'), ('refused', 'Refused'), ('unreachable', 'Unreachable'), ('elsewhere', 'Elsewhere')], default='checking', max_length=11)),
                ('asked_at', models.DateTimeField(default=leases.clock.database_now)),
                ('until', models.DateTimeField()),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('sentence', models.TextField(blank=True, default='')),
                ('model_count', models.PositiveIntegerField(blank=True, null=True)),
                ('anthropic_workspace', models.CharField(blank=True, default='', max_length=100)),
                ('open_elsewhere', models.PositiveIntegerField(default=0)),
                ('asked_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('workspace', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='key_check', to='workspaces.workspace')),
            ],
            options={
                'abstract': False,
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='workspaces_keycheck_due')],
            },
        ),
    ]
