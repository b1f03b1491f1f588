"""Difference and total flux apart: every point names its kind and the science image it is of."""

from __future__ import annotations

from typing import Any

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import OuterRef, Q, Subquery


def check_at_once(schema_editor: Any) -> None:
    """Have PostgreSQL check keys now: it alters no table while checks of its rows are put off."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def name_images(apps: Any, schema_editor: Any) -> None:
    """Give points made so far, all of them of differences, the science image of theirs."""
    check_at_once(schema_editor)
    point = apps.get_model("catalog", "LightCurvePoint").objects.using(
        schema_editor.connection.alias
    )
    run = apps.get_model("differencing", "DifferenceRun")
    image = apps.get_model("preprocessing", "ScienceImage")
    used = run.objects.filter(pk=OuterRef("difference_run_id"))
    point.update(science_image_id=Subquery(used.values("science_image_id")[:1]))
    same = image.objects.filter(
        observation_id=OuterRef("observation_id"),
        pipeline_version=Subquery(
            run.objects.filter(pk=OuterRef(OuterRef("difference_run_id"))).values(
                "pipeline_version"
            )[:1]
        ),
    )
    nameless = point.filter(science_image__isnull=True)
    nameless.update(science_image_id=Subquery(same.values("pk")[:1]))
    # without its calibrated image nobody could tell what such a flux was measured on
    point.filter(science_image__isnull=True).delete()


def keep_differences(apps: Any, schema_editor: Any) -> None:
    """The former table holds differences alone; totals can be measured again."""
    check_at_once(schema_editor)
    point = apps.get_model("catalog", "LightCurvePoint").objects.using(
        schema_editor.connection.alias
    )
    point.filter(difference_run__isnull=True).delete()


class Migration(migrations.Migration):

    dependencies = [
        ("catalog", "0003_where_points_are_measured"),
        ("differencing", "0001_initial"),
        ("preprocessing", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="lightcurvepoint",
            name="kind",
            field=models.CharField(choices=[("difference", "difference flux"), ("total", "total flux")], default="difference", help_text="difference: on science minus template; total: on the science image itself.", max_length=12),
        ),
        migrations.AddField(
            model_name="lightcurvepoint",
            name="science_image",
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="preprocessing.scienceimage"),
        ),
        migrations.RemoveConstraint(model_name="lightcurvepoint", name="catalog_point_once"),
        migrations.AlterField(
            model_name="lightcurvepoint",
            name="difference_run",
            field=models.ForeignKey(blank=True, help_text="Of a difference flux.", null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="differencing.differencerun"),
        ),
        migrations.RunPython(name_images, keep_differences),
        migrations.AlterField(
            model_name="lightcurvepoint",
            name="science_image",
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="+", to="preprocessing.scienceimage"),
        ),
        migrations.AlterField(
            model_name="lightcurvepoint",
            name="flux",
            field=models.FloatField(help_text="Of its kind [science units]; null: see the flags.", null=True),
        ),
        migrations.AlterField(
            model_name="lightcurvepoint",
            name="magnitude",
            field=models.FloatField(help_text="Of a flux of its kind.", null=True),
        ),
        migrations.AddConstraint(
            model_name="lightcurvepoint",
            constraint=models.UniqueConstraint(fields=["astro_object", "science_image", "kind"], name="catalog_point_once"),
        ),
        migrations.AddConstraint(
            model_name="lightcurvepoint",
            constraint=models.CheckConstraint(condition=Q(("difference_run__isnull", False), ("kind", "difference")) | Q(("difference_run__isnull", True), ("kind", "total")), name="catalog_point_difference_has_its_run"),
        ),
    ]
