from django.urls import path

from workspaces import views

app_name = "workspaces"
urlpatterns = [
    path("", views.enter, name="enter"),
    path("w/", views.index, name="index"),
]
