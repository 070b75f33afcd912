"""Where faults happen: around every handler of the API, once it is known who asks."""

from functools import partial

from aiohttp import web

from sandbox.errors import ApiError
from sandbox.faults.base import (
    OPERATIONS,
    Fault,
    Handler,
    Interference,
    Operation,
    Spoiling,
    Step,
)
from sandbox.faults.deliveries import Delivery
from sandbox.faults.world import ForeignBatches
from sandbox.ledger import Entry
from sandbox.requests import EFFECT, FOREIGN, REQUEST_ID, SCOPE, refusal

CHANGING = ("create", "cancel", "delete")


@web.middleware
async def misbehave(request: web.Request, handler: Handler) -> web.StreamResponse:
    operation = _operation(request)
    if operation is None or not request[SCOPE].faults.waiting:
        return await handler(request)
    faults = request[SCOPE].faults
    taken = (faults.take("answer", operation), faults.take("world", operation))
    met = [fault for fault in taken if isinstance(fault, Interference)]
    response = await _interfere(met, operation, request, handler)
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
    met: list[Interference], operation: Operation, request: web.Request, handler: Handler
) -> web.StreamResponse:
    """All is done and written into the ledger before the client hears anything."""
    call: Step = partial(_answered, handler)
    for fault in met:
        call = partial(fault.advance, step=call)
    response = await call(request)
    for fault in met:
        _record(request, fault, operation)
    for fault in met:
        response = await fault.finish(request, response)
    assert response is not None  # where nothing advanced to an answer, one was made up
    return response


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
        foreign=request.get(FOREIGN) if isinstance(fault, ForeignBatches) else None,
    )
    scope.ledger.append(entry)
