"""Addresses about the person who is logged in."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from astrid_site.accounts import views

app_name = "accounts"
urlpatterns = [
    path("login/", views.LoginPage.as_view(), name="login"),
    path("logout/", LogoutView.as_view(), name="logout"),
    path("password/", views.PasswordPage.as_view(), name="password"),
    path("", views.keys, name="keys"),
    path("keys/<uuid:key_id>/revoke/", views.revoke_key, name="revoke"),
]
