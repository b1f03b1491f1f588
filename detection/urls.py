"""Addresses of candidates' pictures."""

from __future__ import annotations

from django.urls import path

from detection import views

app_name = "detection"
urlpatterns = [
    path("<uuid:detection_id>/cutouts/<slug:panel>.png", views.cutout, name="cutout"),
    path("<uuid:detection_id>/pixels/<slug:digest>.bin", views.pixels, name="pixels"),
]
