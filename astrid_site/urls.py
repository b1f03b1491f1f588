"""Every address of the site."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from astrid_site.core.streams import stream_events
from astrid_site.views import (
    datasets,
    errors,
    explain,
    files,
    models,
    objects,
    observations,
    tonight,
    upload,
    viewer,
)
from catalog import views as catalog_views
from catalog.api import ConeService

observation_urls = [
    path("", observations.listing, name="list"),
    path("upload/", upload.upload, name="upload"),
    path("<uuid:observation_id>/", observations.detail, name="detail"),
    path("<uuid:observation_id>/images/<slug:panel>.png", observations.image, name="image"),
    path("<uuid:observation_id>/viewer/", viewer.viewer, name="viewer"),
    path(
        "<uuid:observation_id>/views/<slug:stage>/<slug:sha256>/<path:part>",
        viewer.view,
        name="view",
    ),
    path("<uuid:observation_id>/redraw/", viewer.redraw, name="redraw"),
    path("<uuid:observation_id>/retry/", observations.retry, name="retry"),
    path("<uuid:observation_id>/cancel/", observations.cancel, name="cancel"),
]
object_urls = [
    path("", catalog_views.listing, name="list"),
    path("watched/", catalog_views.watched, name="watched"),
    path("forced/", catalog_views.forced, name="forced"),
    path("forced/<uuid:request_id>/", catalog_views.forced_detail, name="forced_detail"),
    path("searches/", catalog_views.save_search, name="save_search"),
    path("searches/<uuid:search_id>/remove/", catalog_views.forget_search, name="forget_search"),
    path("without-place/", objects.without_place, name="without_place"),
    path("<uuid:object_id>/", objects.detail, name="detail"),
    path("<uuid:object_id>/statements/", catalog_views.state, name="state"),
    path(
        "<uuid:object_id>/statements/<uuid:statement_id>/withdraw/",
        catalog_views.withdraw,
        name="withdraw",
    ),
    path("<uuid:object_id>/finder.pdf", objects.finder_sheet, name="finder_sheet"),
    path("<uuid:object_id>/finder.png", objects.finder, name="finder"),
    path("<uuid:object_id>/epochs/<uuid:run_id>.png", objects.epoch, name="epoch"),
]
model_urls = [
    path("", models.listing, name="list"),
    path("<uuid:model_id>/", models.detail, name="detail"),
    path("<uuid:model_id>/compare/", models.compare, name="compare"),
    path("<uuid:model_id>/promote/", models.promote, name="promote"),
    path("<uuid:model_id>/roll-back/", models.roll_back, name="roll_back"),
    path("<uuid:model_id>/role/", models.set_role, name="role"),
]
dataset_urls = [
    path("", datasets.listing, name="list"),
    path("build/", datasets.build, name="build"),
    path("<uuid:dataset_id>/", datasets.detail, name="detail"),
    path("<uuid:dataset_id>/mosaic.png", datasets.mosaic, name="mosaic"),
    path("<uuid:dataset_id>/cancel/", datasets.cancel, name="cancel"),
    path("<uuid:dataset_id>/train/", datasets.train, name="train"),
    path("trainings/<uuid:training_id>/", datasets.training_detail, name="training"),
    path("trainings/<uuid:training_id>/cancel/", datasets.stop_training, name="stop_training"),
    path("trainings/<uuid:training_id>/go-on/", datasets.go_on, name="go_on"),
]
handler400 = errors.bad_request
handler403 = errors.not_allowed
handler404 = errors.not_found
handler500 = errors.failed
urlpatterns = [
    path("", tonight.home, name="home"),
    path("tonight/<slug:name>/", tonight.part, name="tonight"),
    path("events/", stream_events, name="events"),
    path("files/<uuid:file_id>/", files.download, name="previews"),
    path("observations/", include((observation_urls, "observations"))),
    path("calibration/", include("preprocessing.urls")),
    path("references/", include("differencing.urls")),
    path("candidates/", include("detection.urls")),
    path("vet/", include("curation.urls")),
    path("objects/", include((object_urls, "catalog"))),
    path("explain/", explain.explain, name="explain"),
    path("models/", include((model_urls, "models"))),
    path("datasets/", include((dataset_urls, "datasets"))),
    path("account/", include("astrid_site.accounts.urls")),
    path("vo/", include(([path("cone", ConeService.as_view(), name="cone")], "vo"))),
    path("api/v1/", include("astrid_site.api")),
    path("admin/", admin.site.urls),
]
