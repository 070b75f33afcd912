"""The application: who asks, in which version, and what every answer carries."""

import logging
from collections.abc import Awaitable, Callable
from email.utils import format_datetime

from aiohttp import web

from sandbox import batches, catalogue, control, messages
from sandbox.errors import ApiError, TooLargeError, invalid, not_found
from sandbox.faults.middleware import misbehave
from sandbox.identifiers import drawn
from sandbox.requests import CLIENT_GONE, MOST_BYTES, REQUEST_ID, SCOPE, VERSION, refusal
from sandbox.scopes import Scopes

MESSAGE_LIMIT = 32 << 20
VERSIONS = ("2023-06-01", "2026-10-21")
ORGANIZATION = "00000000-5a4d-4b0c-9d5e-5a6e64626f78"
RATE_LIMIT = 4000
HEALTH = "/_sandbox/health"

SCOPES = web.AppKey("scopes", Scopes)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger("sandbox")


def application(scopes: Scopes) -> web.Application:
    middlewares = [answer_errors, authenticate, misbehave]
    app = web.Application(middlewares=middlewares, client_max_size=MESSAGE_LIMIT)
    app[SCOPES] = scopes
    app[MOST_BYTES] = MESSAGE_LIMIT
    app.on_response_prepare.append(add_headers)
    app.add_routes([*batches.routes, *messages.routes, *catalogue.routes, *control.routes])
    return app


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever a handler raises into an answer in the API's shape."""
    request[REQUEST_ID] = drawn("req")
    try:
        return await handler(request)
    except ApiError as error:
        return refusal(error, request[REQUEST_ID])
    except web.HTTPRequestEntityTooLarge:
        return refusal(TooLargeError(), request[REQUEST_ID])
    except web.HTTPException as error:
        return refusal(_routing_error(error), request[REQUEST_ID])
    except web.RequestPayloadError as error:
        problem = invalid(f"The request body cannot be read: {error}")
        return refusal(problem, request[REQUEST_ID])
    except ConnectionError:
        log.info("%s: the client went away", request[REQUEST_ID])
        return web.Response(status=CLIENT_GONE)
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        problem = ApiError(500, "api_error", "Internal server error")
        return refusal(problem, request[REQUEST_ID])


def _routing_error(error: web.HTTPException) -> ApiError:
    if error.status == 405:
        return ApiError(405, "invalid_request_error", "Method Not Allowed")
    return not_found("Not Found")


@web.middleware
async def authenticate(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Finds the scope of the key, in either header, and refuses versions that do not exist."""
    if request.path == HEALTH:
        return await handler(request)
    scope = request.app[SCOPES].of_key(_key(request))
    request[SCOPE] = scope
    wanted = request.headers.get("anthropic-workspace-id", scope.workspace_id)
    if wanted != scope.workspace_id:
        raise ApiError(403, "permission_error", f"The API key has no access to {wanted}.")
    if request.path.startswith("/v1/"):
        request[VERSION] = _version(request)
    return await handler(request)


def _key(request: web.Request) -> str:
    if "x-api-key" in request.headers:
        return request.headers["x-api-key"]
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        message = "x-api-key or authorization header is required"
        raise ApiError(401, "authentication_error", message)
    return key.strip()


def _version(request: web.Request) -> str:
    version = request.headers.get("anthropic-version")
    if version is None:
        raise invalid("anthropic-version: header is required")
    if version not in VERSIONS:
        raise invalid(f'anthropic-version: "{version}" is not a valid version')
    return version


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    headers = {"request-id": request.get(REQUEST_ID) or drawn("req")}
    scope = request.get(SCOPE)
    if scope is not None:
        reset = scope.now().replace(microsecond=0)
        headers |= {
            "date": format_datetime(scope.now(), usegmt=True),
            "anthropic-organization-id": ORGANIZATION,
            "anthropic-workspace-id": scope.workspace_id,
            "anthropic-ratelimit-requests-limit": str(RATE_LIMIT),
            "anthropic-ratelimit-requests-remaining": str(RATE_LIMIT - 1),
            "anthropic-ratelimit-requests-reset": reset.strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
    response.headers.update(headers)
