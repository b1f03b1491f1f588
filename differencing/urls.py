"""Addresses of references."""

from __future__ import annotations

from django.urls import path

from differencing import views

app_name = "differencing"
urlpatterns = [
    path("<uuid:reference_id>/", views.reference, name="reference"),
    path("<uuid:reference_id>/<slug:name>.png", views.picture, name="picture"),
]
