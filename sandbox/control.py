"""The sandbox's own addresses: settings, faults, ledger, health."""

import asyncio

from aiohttp import web

from sandbox.faults.table import parse
from sandbox.requests import SCOPE, json_body, reply

routes = web.RouteTableDef()


@routes.get("/_sandbox/health")
async def health(request: web.Request) -> web.Response:
    return reply({"status": "ok"})


@routes.get("/_sandbox/settings")
async def settings(request: web.Request) -> web.Response:
    return reply(request[SCOPE].settings)


@routes.post("/_sandbox/settings")
async def change_settings(request: web.Request) -> web.Response:
    """Changes any of the scope's settings; the reply holds all that are in force."""
    request[SCOPE].change_settings(await json_body(request))
    return reply(request[SCOPE].settings)


@routes.get("/_sandbox/faults")
async def faults(request: web.Request) -> web.Response:
    """The faults of the scope: how many requests each saw, and to how many it happened."""
    return reply({"faults": [waiting.shown() for waiting in request[SCOPE].faults.waiting]})


@routes.post("/_sandbox/faults")
async def add_fault(request: web.Request) -> web.Response:
    fault = parse(await json_body(request))
    return reply(request[SCOPE].faults.add(fault).shown())


@routes.delete("/_sandbox/faults")
async def clear_faults(request: web.Request) -> web.Response:
    return reply({"deleted": request[SCOPE].faults.clear()})


@routes.get("/_sandbox/ledger")
async def ledger(request: web.Request) -> web.Response:
    """What reached the scope; `?custom_ids=0` leaves out the custom_ids of the creates."""
    scope = request[SCOPE]
    with_ids = request.query.get("custom_ids") != "0"
    entries = await asyncio.to_thread(scope.ledger.read, with_ids)
    return reply({"scope": scope.name, **entries})
