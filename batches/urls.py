from django.urls import path

from batches.views.activity import activity
from batches.views.adopt import adopt, adopt_live
from batches.views.batches import batches, batches_live
from batches.views.cancel import cancel
from batches.views.decide import decide, start_again
from batches.views.delete import delete, delete_remote
from batches.views.download import download
from batches.views.export import export
from batches.views.file import file, file_live, file_problems
from batches.views.home import home, home_live
from batches.views.match import match, match_live
from batches.views.new import new
from batches.views.overview import overview, overview_live
from batches.views.part import part, part_collect, part_live, part_stop
from batches.views.preview import preview
from batches.views.problems import problems
from batches.views.recipe import recipe
from batches.views.rename import rename
from batches.views.result import result
from batches.views.results import results
from batches.views.retry import retry
from batches.views.retry_recipe import retry_recipe
from batches.views.reuse import reuse
from batches.views.review import review, review_live
from batches.views.upload import upload, uploads

app_name = "batches"
BATCH = "w/<slug:slug>/batches/<int:batch>/"
urlpatterns = [
    path("w/<slug:slug>/", home, name="home"),
    path("w/<slug:slug>/live/", home_live, name="home_live"),
    path("w/<slug:slug>/batches/", batches, name="batches"),
    path("w/<slug:slug>/batches/live/", batches_live, name="batches_live"),
    path("w/<slug:slug>/batches/new/", new, name="new"),
    path("w/<slug:slug>/adopt/", adopt, name="adopt"),
    path("w/<slug:slug>/adopt/live/", adopt_live, name="adopt_live"),
    path("w/<slug:slug>/uploads/", uploads, name="uploads"),
    path("w/<slug:slug>/uploads/<int:upload>/", upload, name="upload"),
    path(f"{BATCH}file/", file, name="file"),
    path(f"{BATCH}file/live/", file_live, name="file_live"),
    path(f"{BATCH}file/problems.csv", file_problems, name="file_problems"),
    path(f"{BATCH}recipe/", recipe, name="recipe"),
    path(f"{BATCH}recipe/preview/", preview, name="preview"),
    path(f"{BATCH}review/", review, name="review"),
    path(f"{BATCH}review/live/", review_live, name="review_live"),
    path(BATCH, overview, name="overview"),
    path(f"{BATCH}live/", overview_live, name="overview_live"),
    path(f"{BATCH}results/", results, name="results"),
    path(f"{BATCH}results/<int:row>/", result, name="result"),
    path(f"{BATCH}problems/", problems, name="problems"),
    path(f"{BATCH}activity/", activity, name="activity"),
    path(f"{BATCH}export/", export, name="export"),
    path(f"{BATCH}download/", download, name="download"),
    path(f"{BATCH}retry/", retry, name="retry"),
    path(f"{BATCH}retry/recipe/", retry_recipe, name="retry_recipe"),
    path(f"{BATCH}cancel/", cancel, name="cancel"),
    path(f"{BATCH}parts/<int:part>/", part, name="part"),
    path(f"{BATCH}parts/<int:part>/live/", part_live, name="part_live"),
    path(f"{BATCH}parts/<int:part>/collect/", part_collect, name="part_collect"),
    path(f"{BATCH}parts/<int:part>/stop/", part_stop, name="part_stop"),
    path(f"{BATCH}parts/<int:part>/decide/", decide, name="decide"),
    path(f"{BATCH}start-again/", start_again, name="start_again"),
    path(f"{BATCH}match/", match, name="match"),
    path(f"{BATCH}match/live/", match_live, name="match_live"),
    path(f"{BATCH}rename/", rename, name="rename"),
    path(f"{BATCH}delete/", delete, name="delete"),
    path(f"{BATCH}delete/remote/", delete_remote, name="delete_remote"),
    path(f"{BATCH}reuse/", reuse, name="reuse"),
]
