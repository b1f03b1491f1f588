
import django.db.models.deletion
import django.utils.timezone
import uuid
from django.conf import settings
from django.db import migrations, models

from astrid_site.core.append_only import protect


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0005_append_only'),
        ('catalog', '0004_points_of_two_kinds'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ObjectStatement',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('kind', models.CharField(choices=[('alias', 'name elsewhere'), ('host', 'host galaxy'), ('redshift', 'redshift'), ('classification', 'classification'), ('note', 'note')], max_length=16)),
                ('text', models.CharField(blank=True, help_text='The name, type or words.', max_length=300)),
                ('number', models.FloatField(blank=True, help_text='Of a redshift.', null=True)),
                ('error', models.FloatField(blank=True, null=True)),
                ('source', models.CharField(blank=True, help_text='Where it is known from.', max_length=300)),
            ],
        ),
        migrations.CreateModel(
            name='SavedSearch',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('name', models.CharField(max_length=80)),
                ('parameters', models.JSONField(default=dict, help_text='As in a query string.')),
                ('is_public', models.BooleanField(default=False, help_text='Others see it too.')),
            ],
            options={
                'verbose_name_plural': 'saved searches',
            },
        ),
        migrations.AddIndex(
            model_name='astroobject',
            index=models.Index(fields=['brightest_magnitude'], name='catalog_brightest'),
        ),
        migrations.AddIndex(
            model_name='astroobject',
            index=models.Index(fields=['classification'], name='catalog_classification'),
        ),
        migrations.AddField(
            model_name='objectstatement',
            name='astro_object',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='statements', to='catalog.astroobject'),
        ),
        migrations.AddField(
            model_name='objectstatement',
            name='said_by',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddField(
            model_name='objectstatement',
            name='withdraws',
            field=models.OneToOneField(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='withdrawn_by', to='catalog.objectstatement'),
        ),
        migrations.AddField(
            model_name='savedsearch',
            name='owner',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='objectstatement',
            index=models.Index(fields=['astro_object', 'created_at'], name='catalog_statement_of'),
        ),
        migrations.AddConstraint(
            model_name='objectstatement',
            constraint=models.CheckConstraint(condition=models.Q(('withdraws__isnull', False), models.Q(('kind', 'redshift'), ('number__gt', -0.01), ('number__lt', 20)), models.Q(models.Q(('kind', 'redshift'), _negated=True), models.Q(('text', ''), _negated=True)), _connector='OR'), name='catalog_statement_redshift_is_a_number'),
        ),
        migrations.AddConstraint(
            model_name='objectstatement',
            constraint=models.CheckConstraint(condition=models.Q(('error__isnull', True), ('error__gt', 0), _connector='OR'), name='catalog_statement_error_positive'),
        ),
        migrations.AddConstraint(
            model_name='savedsearch',
            constraint=models.UniqueConstraint(fields=('owner', 'name'), name='catalog_search_name_once'),
        ),
        protect("catalog_objectstatement"),
    ]
