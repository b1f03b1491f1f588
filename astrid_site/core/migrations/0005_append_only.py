from django.db import migrations

from astrid_site.core.append_only import prepare, protect


class Migration(migrations.Migration):

    dependencies = [
        ('core', '0004_crashes_apart_from_errors'),
    ]

    operations = [
        prepare(),
        protect('core_auditentry'),
        # an event gets its number after the fact, once; old published ones are forgotten
        protect(
            'core_event',
            columns=('id', 'kind', 'subject_id', 'payload', 'created_at'),
            set_once='sequence',
            may_delete_if='OLD.sequence IS NOT NULL',
        ),
    ]
