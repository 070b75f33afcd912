from django.urls import path

from workspaces.views.enter import enter
from workspaces.views.index import index
from workspaces.views.key import key
from workspaces.views.members import members
from workspaces.views.settings import settings

app_name = "workspaces"
urlpatterns = [
    path("", enter, name="enter"),
    path("w/", index, name="index"),
    path("w/<slug:slug>/settings/", settings, name="settings"),
    path("w/<slug:slug>/settings/key/", key, name="key"),
    path("w/<slug:slug>/settings/members/", members, name="members"),
]
