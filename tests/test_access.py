"""Who gets in where: every route, as everybody. A route that is missing here fails."""

from collections.abc import Callable
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import User
from django.test import Client
from django.urls import get_resolver, include, path, reverse

from batches.models import Batch, MessageBatch
from config.asgi import application, websocket_routes
from leases.clock import database_now
from streaming.asking import begin
from streaming.models import Turn
from tests.batches.stage import make_batch, make_part, make_upload
from tests.cast import ROLES, Cast
from tests.streaming.turns import make_turn
from tests.walk import arguments_in, may_connect, routes, session_cookie, socket_names
from workspaces.access import may_follow
from workspaces.models import Workspace

SIGN_IN = 302
READERS = dict(zip(ROLES, (SIGN_IN, 404, 404, 200, 200, 200), strict=True))
READERS_204 = {**READERS, "viewer": 204, "member": 204, "owner": 204}
MEMBERS = {**READERS, "viewer": 403}
OWNERS = {**MEMBERS, "member": 403}
EVERYBODY = dict.fromkeys(ROLES, 200)
SIGNED_IN_IS_SENT_ON = dict.fromkeys(ROLES, 302)

# By name of the route: the method, and the status that each role gets.
EXPECTED: dict[str, dict[str, dict[str, int]]] = {
    "workspaces:enter": {"GET": SIGNED_IN_IS_SENT_ON},
    # With one workspace there is nothing to choose; without any, the page says so.
    "workspaces:index": {"GET": {**SIGNED_IN_IS_SENT_ON, "removed": 200}},
    "workspaces:settings": {"GET": READERS, "POST": {**OWNERS, "owner": 422}},
    "workspaces:key": {"GET": READERS, "POST": {**OWNERS, "owner": 302}},
    "workspaces:key_live": {"GET": READERS},
    "workspaces:key_replace": {"GET": OWNERS, "POST": {**OWNERS, "owner": 422}},
    "workspaces:key_remove": {"GET": OWNERS, "POST": {**OWNERS, "owner": 302}},
    "workspaces:members": {"GET": READERS},
    # The first member is the only owner, who stays one and cannot leave.
    "workspaces:member": {"GET": OWNERS, "POST": {**OWNERS, "owner": 422}},
    "workspaces:member_remove": {"GET": OWNERS, "POST": {**OWNERS, "owner": 422}},
    "batches:home": {"GET": READERS},
    "batches:home_live": {"GET": READERS},
    "batches:batches": {"GET": READERS},
    "batches:batches_live": {"GET": READERS},
    "batches:adopt": {"GET": READERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    # Nobody has looked: the page is loaded anew.
    "batches:adopt_live": {"GET": {**READERS, "viewer": 204, "member": 204, "owner": 204}},
    # It was made here.
    "batches:match": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 409, "owner": 409}},
    "batches:match_live": {"GET": READERS},
    "batches:new": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:uploads": {"POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:upload": {
        "GET": MEMBERS,
        "PUT": {**MEMBERS, "member": 422, "owner": 422},
        "DELETE": {**MEMBERS, "member": 409, "owner": 409},
    },
    # The file of a batch that was sent stays as it is.
    "batches:file": {"GET": READERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:file_live": {"GET": READERS_204},
    "batches:file_problems": {"GET": READERS},
    "batches:recipe": {"GET": READERS, "POST": MEMBERS},
    # Opened by itself it leads to the page that it is a part of.
    "batches:preview": {
        "GET": {**READERS, "viewer": 302, "member": 302, "owner": 302},
        "POST": {**MEMBERS, "member": 302, "owner": 302},
    },
    # All of its rows are sent: there is nothing to review.
    "batches:review": {
        "GET": {**READERS, "viewer": 302, "member": 302, "owner": 302},
        "POST": {**MEMBERS, "member": 302, "owner": 302},
    },
    "batches:review_live": {"GET": READERS_204},
    "batches:overview": {"GET": READERS},
    "batches:overview_live": {"GET": READERS},
    "batches:results": {"GET": READERS, "POST": {**MEMBERS, "member": 302, "owner": 302}},
    "batches:result": {"GET": READERS},
    "batches:problems": {"GET": READERS},
    "batches:activity": {"GET": READERS},
    "batches:export": {"GET": READERS},
    "batches:download": {"GET": READERS},
    # A press of a page that is old leads to what was pressed since.
    "batches:retry": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 302, "owner": 302}},
    "batches:retry_recipe": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:cancel": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 302, "owner": 302}},
    # The part needs no decision, and nothing was set aside.
    "batches:decide": {"GET": READERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:start_again": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 302, "owner": 302}},
    "batches:part": {"GET": READERS},
    "batches:part_live": {"GET": READERS},
    # The part is not sent: there is nothing to collect, and nobody waits for answers.
    "batches:part_collect": {"POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:part_stop": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:rename": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 302, "owner": 302}},
    "batches:delete": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:delete_remote": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "batches:reuse": {"POST": {**MEMBERS, "member": 302, "owner": 302}},
    "streaming:conversations": {"GET": READERS},
    "streaming:conversations_live": {"GET": READERS},
    "streaming:recent": {"GET": READERS},
    "streaming:new": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "streaming:try_row": {"POST": {**MEMBERS, "member": 422, "owner": 422}},
    # While an answer is being written nothing more can be asked.
    "streaming:conversation": {
        "GET": READERS,
        "POST": {**MEMBERS, "member": 422, "owner": 422},
    },
    "streaming:conversation_live": {"GET": READERS},
    "streaming:rename": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "streaming:delete": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "streaming:turn": {"GET": {**READERS, "viewer": 302, "member": 302, "owner": 302}},
    "streaming:stop": {"POST": {**MEMBERS, "member": 302, "owner": 302}},
    "streaming:go_on": {"POST": {**MEMBERS, "member": 422, "owner": 422}},
    "streaming:again": {"GET": MEMBERS, "POST": {**MEMBERS, "member": 422, "owner": 422}},
    "streaming:results": {"POST": {**MEMBERS, "member": 422, "owner": 422}},
    "health": {"GET": EVERYBODY},
    "theme": {"POST": SIGNED_IN_IS_SENT_ON},
    "keys": {"POST": SIGNED_IN_IS_SENT_ON},
}
FORMS = {
    "keys": {"keys": "off"},
    "batches:rename": {"name": "Themes+of+October"},
    "theme": {"theme": "dark", "next": "/"},
}
# By name of the websocket route: its path, and the roles whose connection is accepted.
EXPECTED_SOCKETS: dict[str, tuple[Callable[[Workspace], str], set[str]]] = {
    "live": (lambda workspace: live_path(workspace), {"viewer", "member", "owner"}),
}

# By name of a route's argument, such as `number`: makes the object in a workspace, tells its id.
OBJECTS: dict[str, Callable[[Workspace], Any]] = {
    "batch": lambda workspace: an_answered_batch(workspace).pk,
    "upload": lambda workspace: make_upload(workspace, ["one"]).pk,
    "part": lambda workspace: MessageBatch.objects.filter(workspace=workspace).latest("pk").pk,
    "row": lambda workspace: FIRST_ROW,
    "member": lambda workspace: workspace.memberships.order_by("pk")[0].pk,
    "conversation": lambda workspace: a_live_turn(workspace).conversation_id,
    # Arguments are made in the order of their names: this is the turn of that conversation.
    "turn": lambda workspace: Turn.objects.get(conversation__workspace=workspace).pk,
}
FIRST_ROW = 2


def a_live_turn(workspace: Workspace) -> Turn:
    return make_turn(begin(workspace, "Rivers", database_now(), actor=None))


def live_path(workspace: Workspace) -> str:
    turn = a_live_turn(workspace)
    place = f"conversations/{turn.conversation_id}/turns/{turn.pk}/live/"
    return f"/w/{workspace.slug}/{place}"


def an_answered_batch(workspace: Workspace) -> Batch:
    batch = make_batch(workspace, ["one", "two"])
    make_part(batch, 2)
    batch.recount()
    return batch


ROUTES = dict(routes(get_resolver().url_patterns))
CASES = [
    (name, method, role)
    for name, methods in EXPECTED.items()
    for method in methods
    for role in ROLES
]


def test_every_route_is_in_the_table() -> None:
    assert set(ROUTES) == set(EXPECTED)
    assert set(socket_names(websocket_routes)) == set(EXPECTED_SOCKETS)


@pytest.mark.parametrize(("name", "method", "role"), CASES)
def test_each_role_gets_what_the_table_says(cast: Cast, name: str, method: str, role: str) -> None:
    url = reverse(name, kwargs=arguments_in(cast.workspace, ROUTES[name], OBJECTS))
    client = cast.client(cast.as_role(role))
    response = client.generic(
        method,
        url,
        data="&".join(f"{key}={value}" for key, value in FORMS.get(name, {}).items()),
        content_type="application/x-www-form-urlencoded",
    )
    assert response.status_code == EXPECTED[name][method][role]
    if role == "anonymous" and response.status_code == SIGN_IN:
        assert response.headers["Location"].startswith("/accounts/login/")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize("name", ROUTES)
def test_nothing_is_changed_without_the_token_of_a_form(cast: Cast, name: str, method: str) -> None:
    url = reverse(name, kwargs=arguments_in(cast.workspace, ROUTES[name], OBJECTS))
    client = cast.client(cast.alice, enforce_csrf_checks=True)
    assert client.generic(method, url).status_code == 403


@pytest.mark.parametrize("name", [name for name in ROUTES if "slug" in ROUTES[name]])
def test_an_owner_is_a_stranger_to_what_lies_next_door(cast: Cast, name: str) -> None:
    there = arguments_in(cast.other, ROUTES[name], OBJECTS)
    places = [there]
    if len(there) > 1:
        # The address is ours, the object is theirs.
        places.append({**there, "slug": cast.workspace.slug})
    client = cast.client(cast.alice)
    for place in places:
        for method in EXPECTED[name]:
            assert client.generic(method, reverse(name, kwargs=place)).status_code == 404


def test_the_walk_finds_nested_routes_and_leaves_the_prefixes_out() -> None:
    def view() -> None: ...

    rows = ([path("rows/<int:number>/", view, name="row")], "rows")
    patterns = [
        path("w/<slug:slug>/", include(rows)),
        path("admin/", include(([path("x/", view, name="x")], "admin"))),
        path("unnamed/", view),
    ]
    assert dict(routes(patterns)) == {"rows:row": {"slug", "number"}, "unnamed/": set()}


@pytest.mark.parametrize("role", ["stranger", "removed", "viewer", "member", "owner"])
def test_the_admin_site_is_not_there_for_anybody_but_superusers(cast: Cast, role: str) -> None:
    response = cast.client(cast.as_role(role)).get("/admin/", follow=True)
    assert response.status_code == 404


def test_the_admin_site_signs_in_where_everybody_does(db: None) -> None:
    response = Client().get("/admin/", follow=True)
    assert response.redirect_chain[-1][0] == "/accounts/login/?next=/admin/"


def test_a_superuser_administers_but_is_in_no_workspace(cast: Cast) -> None:
    boss = User.objects.create_superuser("boss")
    client = cast.client(boss)
    pages = ("", "auth/user/", "workspaces/workspace/", "workspaces/membership/", "batches/batch/")
    assert {client.get(f"/admin/{page}").status_code for page in pages} == {200}
    assert client.get("/admin/batches/batch/add/").status_code == 403
    for hidden in ("workspaces/apikey", "workspaces/event", "mfa/authenticator", "batches/result"):
        assert client.get(f"/admin/{hidden}/").status_code == 404
    assert client.get("/w/acme/").status_code == 404


@pytest.mark.parametrize("page", ["email/", "password/change/", "2fa/", "2fa/totp/activate/"])
def test_the_pages_of_an_account_want_a_sign_in(db: None, page: str) -> None:
    response = Client().get(f"/accounts/{page}")
    assert response.status_code == 302
    assert response.headers["Location"].startswith("/accounts/login/")


class Follower(AsyncWebsocketConsumer):
    """Stands for a consumer of ours in the proof that the walk tells roles apart."""

    async def connect(self) -> None:
        slug = self.scope["url_route"]["kwargs"]["slug"]
        if await may_follow(self.scope["session"].session_key, slug):
            await self.accept()
        else:
            await self.close(code=4404)


@pytest.mark.django_db(transaction=True)
async def test_the_walk_tells_who_may_follow_a_socket(cast: Cast) -> None:
    router = URLRouter([path("w/<slug:slug>/live/", Follower.as_asgi(), name="live")])
    served = AuthMiddlewareStack(router)
    accepted = {
        role for role in ROLES if await may_connect(served, "w/acme/live/", cast.as_role(role))
    }
    assert accepted == {"viewer", "member", "owner"}
    assert not await may_connect(served, "w/other/live/", cast.alice)


@pytest.mark.django_db(transaction=True)
async def test_each_role_follows_the_sockets_that_the_table_says(cast: Cast) -> None:
    for path_in, roles in EXPECTED_SOCKETS.values():
        place = await sync_to_async(path_in)(cast.workspace)
        for role in ROLES:
            assert await may_connect(application, place, cast.as_role(role)) == (role in roles)
        elsewhere = (await sync_to_async(path_in)(cast.other)).replace("/other/", "/acme/")
        assert not await may_connect(application, elsewhere, cast.alice)
    assert not await may_connect(application, "/no/such/socket/", cast.alice)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("origin", [b"http://evil.example", b"null", b"http://sub.localhost", None])
async def test_another_site_opens_no_socket(cast: Cast, origin: bytes | None) -> None:
    headers = [(b"cookie", await session_cookie(cast.alice))]
    if origin is not None:
        headers.append((b"origin", origin))
    socket = WebsocketCommunicator(application, "/no/such/socket/", headers=headers)
    accepted, code = await socket.connect()
    await socket.disconnect()
    # 4404 would be the answer of a route: it was refused before any was looked for.
    assert not accepted
    assert code != 4404
