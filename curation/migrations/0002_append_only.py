from django.db import migrations

from astrid_site.core.append_only import protect


class Migration(migrations.Migration):

    dependencies = [
        ('curation', '0001_initial'),
        ('core', '0005_append_only'),
    ]

    operations = [
        protect('curation_verdict'),
    ]
