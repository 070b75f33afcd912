"""The asynchronous client: one message, streamed."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from claude_api.client import API_VERSION, check_url, make_headers, trusted_certificates
from claude_api.errors import OutcomeUnknown
from claude_api.events import read_event
from claude_api.lines import EventDecoder
from claude_api.replies import explain_break, read_facts, read_refusal
from claude_api.types import Event, ReplyFacts

ERROR_BODY_LIMIT = 2**20


class AsyncClient:
    """The Claude API for one key, for live answers. Nothing is retried.

    Many streams may run at once; `last` holds what the headers of the newest reply said.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        version: str = API_VERSION,
        transport: httpx.AsyncBaseTransport | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 90.0,
    ) -> None:
        self.url = check_url(url)
        self.last = ReplyFacts()
        self._key = key
        self._http = httpx.AsyncClient(
            transport=transport,
            verify=trusted_certificates(),
            headers=make_headers(key, version) | {"accept-encoding": "identity"},
            timeout=httpx.Timeout(read_timeout, connect=connect_timeout),
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"AsyncClient({self.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    @asynccontextmanager
    async def stream_message(
        self, params: Mapping[str, Any] | bytes
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """POST a request with `stream` set; gives the events, pings and errors among them.

        A refusal raises on entry. An `error` event is given like any other and ends the answer.
        The events just end where the other side stops: only message_stop says that the answer
        is whole. A broken connection, or silence for longer than the read timeout, raises
        OutcomeUnknown.
        """
        response = await self._open(params)
        try:
            async with aclosing(_read_events(response)) as events:
                yield events
        finally:
            await response.aclose()

    async def _open(self, params: Mapping[str, Any] | bytes) -> httpx.Response:
        """Send the request; return its reply unread if that is a stream, else raise."""
        request = self._http.build_request(
            "POST",
            self.url + "/v1/messages",
            content=_encode(params),
            headers={"content-type": "application/json", "accept": "text/event-stream"},
        )
        try:
            response = await self._http.send(request, stream=True)
        except httpx.RequestError as error:
            raise explain_break(error, request.url.host, begun=False, answered=False) from error
        self.last = read_facts(response.headers)
        kind = response.headers.get("content-type", "text/event-stream")
        if response.is_success and kind.startswith("text/event-stream"):
            return response
        async with aclosing(response):
            if response.is_success:
                raise OutcomeUnknown(f"The answer is {kind}, not a stream.", answered=True)
            raise read_refusal(response, await _read_whole(response), self._key)


def _encode(params: Mapping[str, Any] | bytes) -> bytes:
    """Add `stream`; values that come as bytes are carried over as they are."""
    if isinstance(params, bytes):
        params = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**params, "stream": True})


async def _read_events(response: httpx.Response) -> AsyncGenerator[Event, None]:
    decoder = EventDecoder()
    async with aclosing(_read_parts(response)) as parts:
        async for part in parts:
            for sent in decoder.feed(part):
                event = read_event(sent)
                yield event
                if event.type == "message_stop":
                    return


async def _read_parts(response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Pass the body on, turning what httpx raises into OutcomeUnknown."""
    try:
        async for part in response.aiter_bytes():
            yield part
    except httpx.RequestError as error:
        host = response.request.url.host
        raise explain_break(error, host, begun=True, answered=response.is_success) from error


async def _read_whole(response: httpx.Response) -> bytes:
    content = bytearray()
    async for part in _read_parts(response):
        content += part
        if len(content) > ERROR_BODY_LIMIT:
            break
    return bytes(content)
