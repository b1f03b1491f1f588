from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('detection', '0001_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='detection',
            name='second_opinion',
            field=models.JSONField(blank=True, help_text='method, score, flux_ratio, least_score, agrees of a second method; null where none was asked.', null=True),
        ),
    ]
