from django.urls import path

from batches import views

app_name = "batches"
urlpatterns = [
    path("w/<slug:slug>/", views.home, name="home"),
]
