"""Addresses of the vetting page."""

from __future__ import annotations

from django.urls import path

from curation import views

app_name = "curation"
urlpatterns = [
    path("", views.vet, name="vet"),
    path("queue/", views.queue, name="queue"),
    path("decide/", views.decide, name="decide"),
    path("undo/", views.undo, name="undo"),
    path("presence/", views.presence, name="presence"),
    path("leave/", views.leave, name="leave"),
    path("<uuid:detection_id>/", views.vet_candidate, name="vet_candidate"),
]
