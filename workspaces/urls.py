from django.urls import path

from workspaces.views.enter import enter
from workspaces.views.index import index
from workspaces.views.key import key, key_live, key_remove, key_replace
from workspaces.views.members import member, member_remove, members
from workspaces.views.settings import settings

app_name = "workspaces"
SETTINGS = "w/<slug:slug>/settings/"
urlpatterns = [
    path("", enter, name="enter"),
    path("w/", index, name="index"),
    path(SETTINGS, settings, name="settings"),
    path(f"{SETTINGS}key/", key, name="key"),
    path(f"{SETTINGS}key/live/", key_live, name="key_live"),
    path(f"{SETTINGS}key/replace/", key_replace, name="key_replace"),
    path(f"{SETTINGS}key/remove/", key_remove, name="key_remove"),
    path(f"{SETTINGS}members/", members, name="members"),
    path(f"{SETTINGS}members/<int:member>/", member, name="member"),
    path(f"{SETTINGS}members/<int:member>/remove/", member_remove, name="member_remove"),
]
