"""Where faults happen: around every handler of the API, once it is known who asks."""

from functools import partial

from aiohttp import web

from sandbox.errors import ApiError
from sandbox.faults.base import OPERATIONS, Fault, Handler, Interference, Operation, Spoiling
from sandbox.faults.deliveries import Delivery
from sandbox.ledger import Entry
from sandbox.requests import EFFECT, FOREIGN, REQUEST_ID, SCOPE, refusal

CHANGING = ("create", "cancel", "delete")


@web.middleware
async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
    operation = _operation(request)
    if operation is None or not request[SCOPE].faults.waiting:
        return await handler(request)
    call = partial(_answered, handler)
    faults = request[SCOPE].faults
    for fault in (faults.take("world", operation), faults.take("answer", operation)):
        if isinstance(fault, Interference):
            call = partial(_interfere, fault, operation, call)
    response = await call(request)
    if not 200 <= response.status < 300:
        return response
    spoiling = faults.take("content", operation, response)
    if isinstance(spoiling, Spoiling):
        _record(request, spoiling, operation)
        response = spoiling.spoil(request, response)
    delivery = faults.take("delivery", operation, response)
    if isinstance(delivery, Delivery):
        _record(request, delivery, operation)
        response = await delivery.deliver(request, response)
    return response


def _operation(request: web.Request) -> Operation | None:
    resource = request.match_info.route.resource
    return OPERATIONS.get((request.method, resource.canonical)) if resource else None


async def _answered(handler: Handler, request: web.Request) -> web.StreamResponse:
    """The handler, whose refusals are answers that can be lost like any other."""
    try:
        return await handler(request)
    except ApiError as error:
        return refusal(error, request[REQUEST_ID])


async def _interfere(
    fault: Interference, operation: Operation, call: Handler, request: web.Request
) -> web.StreamResponse:
    response = await fault.advance(request, call)
    _record(request, fault, operation)
    return await fault.finish(request, response)


def _record(request: web.Request, fault: Fault, operation: Operation) -> None:
    scope = request[SCOPE]
    entry = Entry(
        kind="fault",
        at=scope.now(),
        request_id=request[REQUEST_ID],
        id=request.get(EFFECT),
        fault=fault.kind,
        on=operation,
        path=request.path,
        took_effect=EFFECT in request if operation in CHANGING else None,
        foreign=request.get(FOREIGN),
    )
    scope.ledger.append(entry)
