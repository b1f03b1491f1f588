"""Addresses of the vetting pages."""

from __future__ import annotations

from django.urls import path

from curation.views import later, mine, mosaic, together, vetting

app_name = "curation"
urlpatterns = [
    path("", vetting.vet, name="vet"),
    path("queue/", vetting.queue, name="queue"),
    path("decide/", vetting.decide, name="decide"),
    path("undo/", vetting.undo, name="undo"),
    path("later/", later.snooze, name="snooze"),
    path("now/", later.wake, name="wake"),
    path("presence/", vetting.presence, name="presence"),
    path("leave/", vetting.leave, name="leave"),
    path("many/", mosaic.many, name="many"),
    path("many/decide/", mosaic.decide, name="decide_many"),
    path("many/undo/", mosaic.undo, name="undo_many"),
    path("me/", mine.overview, name="mine"),
    path("me/scores/", mine.set_blinding, name="blinding"),
    path("together/", together.overview, name="together"),
    path("together/rule/", together.make_rule, name="make_rule"),
    path("<uuid:detection_id>/", vetting.vet_candidate, name="vet_candidate"),
]
