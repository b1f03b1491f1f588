import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0002_append_only'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name='verdict',
            name='decision',
            field=models.UUIDField(blank=True, editable=False, help_text='Drawn where the decision was taken: sent again, it is stored once.', null=True),
        ),
        migrations.AddConstraint(
            model_name='verdict',
            constraint=models.UniqueConstraint(condition=models.Q(('decision__isnull', False)), fields=('curator', 'decision'), name='curation_decision_once'),
        ),
        migrations.CreateModel(
            name='Assignment',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('unit', models.UUIDField(help_text='The object, or the candidate that belongs to none.')),
                ('until', models.DateTimeField(blank=True, help_text='When it is free again; empty once it is decided.', null=True)),
                ('seen_at', models.DateTimeField(help_text="When the curator's page was last heard of.")),
                ('is_open', models.BooleanField(default=False, help_text="On the curator's screen just now.")),
                ('curator', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['curator', 'until'], name='curation_my_assigned')],
                'constraints': [models.UniqueConstraint(fields=('unit', 'curator'), name='curation_assigned_once')],
            },
        ),
    ]
