"""The synchronous client: message batches, token counts, models."""

import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from claude_api.errors import OutcomeUnknown
from claude_api.replies import explain_break, read_body, read_facts, read_refusal
from claude_api.types import BatchPage, MessageBatch, Model, ModelPage, ReplyFacts

SLUICE_VERSION = "0.1.0"
API_VERSION = "2026-10-21"
BATCHES = "/v1/messages/batches"
CHUNK_SIZE = 256 * 1024
REPLY_LIMIT = 64 * 2**20
SLOWEST = 16 * 1024  # bytes of results a second
LONGEST_READ = 600.0
LARGEST_CREATE = 256 * 2**20
Page = TypeVar("Page")
SAFE_ID = re.compile(r"[A-Za-z0-9_-]+")
# What count_tokens takes of a request; it refuses the rest, max_tokens for one.
COUNTED = frozenset(
    {
        "cache_control",
        "messages",
        "model",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    }
)


class Client:
    """The Claude API for one key. One thread at a time; nothing is retried, no redirect followed.

    Every method raises a ClaudeError: NotSent, OutcomeUnknown, Redirected or an ApiError.
    `last` holds what the headers of the most recent reply said.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        version: str = API_VERSION,
        transport: httpx.BaseTransport | None = None,
        connect_timeout: float = 5.0,
        read_timeout: float = 120.0,
        slowest: int = SLOWEST,
    ) -> None:
        self.url = check_url(url)
        self.last = ReplyFacts()
        self._key = key
        self._read_timeout = read_timeout
        self._slowest = slowest
        options: dict[str, Any] = {
            "headers": make_headers(key, version),
            "timeout": httpx.Timeout(read_timeout, connect=connect_timeout, pool=connect_timeout),
            "trust_env": False,
            "follow_redirects": False,
        }
        self._http = httpx.Client(transport=transport, verify=trusted_certificates(), **options)
        # A kept-alive connection may have been closed by the other side unseen. On a read that
        # costs a second try; on a create it would be an unknown outcome, so each has its own.
        self._fresh = httpx.Client(
            transport=transport,
            verify=trusted_certificates(),
            limits=httpx.Limits(max_keepalive_connections=0),
            **options,
        )

    def __repr__(self) -> str:
        return f"Client({self.url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()
        self._fresh.close()

    def create_batch(
        self, body: Iterable[bytes], length: int, read_timeout: float | None = None
    ) -> tuple[MessageBatch, str]:
        """POST a batch once; return it and the request id.

        `body` is the JSON in chunks, `length` its bytes. NotSent means that no byte of the body
        has left; any later break is OutcomeUnknown, and the batch may exist. What `body` itself
        raises, and ValueError where it is not of that length, comes through as it is: the
        connection is closed before the body is whole, so nothing is created.
        `read_timeout` is in seconds, by default 120 to 600 by length.
        """
        upload = _Upload(body, length)
        patience = read_timeout or self._patience(length)
        request = self._fresh.build_request(
            "POST",
            self.url + BATCHES,
            content=upload.read(),
            headers={"content-length": str(length), "content-type": "application/json"},
            extensions={"timeout": self._fresh.timeout.as_dict() | {"read": patience}},
        )
        content = self._exchange(self._fresh, request, upload)
        return read_body(content, MessageBatch), self.last.request_id

    def list_batches(
        self, *, limit: int = 1000, after_id: str | None = None, before_id: str | None = None
    ) -> BatchPage:
        """Read one page, newest first: after_id gives older ones, before_id newer ones."""
        return self._get_page(BATCHES, BatchPage, limit, after_id=after_id, before_id=before_id)

    def retrieve_batch(self, id: str) -> MessageBatch:
        """Read one batch; while it is in progress `last.retry_after` hints at the next look."""
        return read_body(self._call("GET", batch_path(id)), MessageBatch)

    def cancel_batch(self, id: str) -> MessageBatch:
        """Ask for the end of a batch; it goes on in `canceling` until the API has ended it."""
        return read_body(self._call("POST", batch_path(id) + "/cancel"), MessageBatch)

    def delete_batch(self, id: str) -> None:
        """Delete an ended batch and its results at the API."""
        self._call("DELETE", batch_path(id))

    @contextmanager
    def download_results(self, id: str) -> Iterator[Iterator[bytes]]:
        """Open the results file of an ended batch; gives it in chunks of about 256 KB.

        A break on the way, a chunk that takes longer than the read timeout, or a body that comes
        at less than 16 KB a second on the whole, raises OutcomeUnknown. A body without a declared
        length may be short without any error: only counting its lines proves it whole.
        """
        request = self._http.build_request(
            "GET",
            self.url + batch_path(id) + "/results",
            headers={"accept-encoding": "identity", "accept": "application/x-jsonl"},
        )
        with closing(self._open(self._http, request, None)) as response:
            coding = response.headers.get("content-encoding", "identity")
            if coding != "identity":
                raise OutcomeUnknown(f"The results come as {coding}, which was not asked for.")
            yield self._read_chunks(response)

    def count_tokens(self, params: Mapping[str, Any] | bytes) -> int:
        """Count the input tokens of a request; parameters that do not count are left out."""
        if isinstance(params, bytes):
            params = msgspec.json.decode(params, type=dict[str, msgspec.Raw])
        counted = {name: value for name, value in params.items() if name in COUNTED}
        content = self._call("POST", "/v1/messages/count_tokens", msgspec.json.encode(counted))
        return read_body(content, _TokenCount).input_tokens

    def list_models(self) -> list[Model]:
        """Read all models that are not retired, newest first, every page of them."""
        models: list[Model] = []
        cursor: str | None = None
        while True:
            page = self._get_page("/v1/models", ModelPage, 1000, after_id=cursor)
            models += page.data
            if not page.has_more or not page.data or page.last_id in (None, cursor):
                return models
            cursor = page.last_id

    def _get_page(self, path: str, shape: type[Page], limit: int, **cursors: str | None) -> Page:
        query = {"limit": str(limit)}
        query |= {name: check_id(id) for name, id in cursors.items() if id is not None}
        return read_body(self._call("GET", f"{path}?{httpx.QueryParams(query)}"), shape)

    def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        headers = {} if body is None else {"content-type": "application/json"}
        request = self._http.build_request(method, self.url + path, content=body, headers=headers)
        return self._exchange(self._http, request, None)

    def _exchange(
        self, http: httpx.Client, request: httpx.Request, upload: "_Upload | None"
    ) -> bytes:
        """Send a request and return its 2xx body whole."""
        with closing(self._open(http, request, upload)) as response:
            return self._read_whole(response, answered=True)

    def _open(
        self, http: httpx.Client, request: httpx.Request, upload: "_Upload | None"
    ) -> httpx.Response:
        """Send a request; return the reply unread if it is 2xx, else raise what it says."""
        self.last = ReplyFacts()
        try:
            response = http.send(request, stream=True)
        except httpx.RequestError as error:
            begun = upload is not None and upload.begun
            raise explain_break(error, request.url.host, begun=begun, answered=False) from error
        self.last = read_facts(response.headers)
        if response.is_success:
            return response
        with closing(response):
            raise read_refusal(response, self._read_whole(response, answered=False), self._key)

    def _read_whole(self, response: httpx.Response, *, answered: bool) -> bytes:
        """Read a small reply under one deadline, so that a trickle cannot hold the caller."""
        deadline = time.monotonic() + self._read_timeout
        content = bytearray()
        for part in _read_parts(response.iter_bytes(), response, answered=answered):
            content += part
            if len(content) > REPLY_LIMIT:
                message = f"The reply is above {REPLY_LIMIT:,} bytes."
                raise OutcomeUnknown(message, answered=answered)
            if time.monotonic() > deadline:
                raise OutcomeUnknown("The reply comes too slowly.", answered=answered)
        return bytes(content)

    def _read_chunks(self, response: httpx.Response) -> Iterator[bytes]:
        """Chunks of a long body; what came before it breaks is given before that is raised."""
        parts: list[bytes] = []
        try:
            yield from self._read_in_time(response, parts)
        except OutcomeUnknown:
            if parts:
                yield b"".join(parts)
            raise
        if parts:
            yield b"".join(parts)

    def _read_in_time(self, response: httpx.Response, parts: list[bytes]) -> Iterator[bytes]:
        """Gather the body in `parts`, and give them away each time that they are a chunk."""
        size = 0
        end = deadline = time.monotonic() + self._read_timeout
        for part in _read_parts(response.iter_bytes(), response, answered=True):
            parts.append(part)
            size += len(part)
            now = time.monotonic()
            end += len(part) / self._slowest
            if now > end or (size < CHUNK_SIZE and now > deadline):
                raise OutcomeUnknown("The results come too slowly.", answered=True)
            if size >= CHUNK_SIZE:
                chunk, size = b"".join(parts), 0
                parts.clear()
                yield chunk
                # What is done with a chunk is not the API's time.
                end += time.monotonic() - now
                deadline = time.monotonic() + self._read_timeout

    def _patience(self, length: int) -> float:
        share = min(length / LARGEST_CREATE, 1.0)
        return self._read_timeout + share * max(LONGEST_READ - self._read_timeout, 0.0)


class _Upload:
    """A body on its way; `begun` says whether the network has asked for its first byte."""

    def __init__(self, chunks: Iterable[bytes], length: int) -> None:
        self._chunks = chunks
        self._length = length
        self.begun = False

    def read(self) -> Iterator[bytes]:
        """Yield the body, its last chunk only when nothing can be wrong with it any more.

        A chunk is taken when the one before it has been sent: what `chunks` does before it
        gives the last one happens right before the request becomes whole.
        """
        self.begun = True
        size, last = 0, b""
        for chunk in filter(None, self._chunks):
            size += len(chunk)
            if size > self._length:
                raise ValueError(f"The body has more than the {self._length:,} bytes declared.")
            if size == self._length:
                last = chunk
            else:
                yield chunk
        if size < self._length:
            raise ValueError(f"The body has {size:,} bytes of the {self._length:,} declared.")
        yield last


class _TokenCount(msgspec.Struct):
    input_tokens: int


@cache
def trusted_certificates() -> ssl.SSLContext:
    """The context of every connection; reading its certificates takes 20 ms, so once only."""
    return httpx.create_ssl_context(trust_env=False)


def check_url(url: str) -> str:
    """Return the API's base URL without a trailing slash; raise ValueError for another thing."""
    try:
        parsed = httpx.URL(url)
        parsed.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise ValueError(f"The API's URL cannot be read: {error}.") from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("The API's URL starts with http:// or https:// and names a host.")
    if parsed.userinfo or parsed.query or parsed.fragment:
        raise ValueError("The API's URL holds a scheme, a host and a path, nothing else.")
    return url.rstrip("/")


def check_id(id: str) -> str:
    """Return an id of the API if it is fit for a URL; raise ValueError if it is not."""
    if not SAFE_ID.fullmatch(id):
        raise ValueError(f"{id!r} is not an id of the API: letters, digits, _ and - only.")
    return id


def batch_path(id: str) -> str:
    return f"{BATCHES}/{check_id(id)}"


def make_headers(key: str, version: str) -> dict[str, str]:
    """The headers of every request; raise ValueError for a key that no header can carry."""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise ValueError("The API key is empty or holds a character that no key has.")
    return {
        "x-api-key": key,
        "anthropic-version": version,
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": f"sluice/{SLUICE_VERSION}",
    }


def _read_parts(
    parts: Iterator[bytes], response: httpx.Response, *, answered: bool
) -> Iterator[bytes]:
    """Pass parts on, turning what httpx raises into OutcomeUnknown."""
    try:
        yield from parts
    except httpx.RequestError as error:
        host = response.request.url.host
        raise explain_break(error, host, begun=True, answered=answered) from error
