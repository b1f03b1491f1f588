"""Addresses of calibration."""

from __future__ import annotations

from django.urls import path

from preprocessing import views

app_name = "preprocessing"
urlpatterns = [
    path("", views.calibration, name="calibration"),
    path("masters/<uuid:master_id>/", views.master, name="master"),
    path("masters/<uuid:master_id>/picture.png", views.picture, name="picture"),
]
