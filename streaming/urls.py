from django.urls import path

from streaming.views.again import again
from streaming.views.conversation import conversation, conversation_live
from streaming.views.conversations import conversations, conversations_live
from streaming.views.delete import delete
from streaming.views.go_on import go_on
from streaming.views.new import new
from streaming.views.recent import recent
from streaming.views.rename import rename
from streaming.views.results import results
from streaming.views.stop import stop
from streaming.views.try_row import try_row
from streaming.views.turn import turn

app_name = "streaming"
ALL = "w/<slug:slug>/conversations/"
ONE = f"{ALL}<int:conversation>/"
TURN = f"{ONE}turns/<int:turn>/"
urlpatterns = [
    path(ALL, conversations, name="conversations"),
    path(f"{ALL}live/", conversations_live, name="conversations_live"),
    path(f"{ALL}recent/", recent, name="recent"),
    path(f"{ALL}new/", new, name="new"),
    path(f"{ALL}try/", try_row, name="try_row"),
    path(ONE, conversation, name="conversation"),
    path(f"{ONE}live/", conversation_live, name="conversation_live"),
    path(f"{ONE}rename/", rename, name="rename"),
    path(f"{ONE}delete/", delete, name="delete"),
    path(TURN, turn, name="turn"),
    path(f"{TURN}stop/", stop, name="stop"),
    path(f"{TURN}continue/", go_on, name="go_on"),
    path(f"{TURN}again/", again, name="again"),
    path(f"{TURN}results/", results, name="results"),
]
