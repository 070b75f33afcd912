"""daphne, bounded: what a client sends and what it does not read cannot fill the memory.

daphne 4.2 receives a body of any size, parses forms in the event loop, hands bodies and websocket
messages to queues without an end, and writes without waiting for the reader. Here

- a body above `REQUEST_BODY_LIMIT` is refused with 413, before it arrives where its length is
  told, and else as soon as it is passed;
- a body lies in a temporary file, and the application reads it from there when it asks;
- `send` waits while the connection takes no more, until the client reads on or is gone;
- on SIGTERM and Ctrl-C, requests get some seconds to finish and websockets a close frame.

It leans on how daphne works inside: see `fitting`.
"""

import asyncio
import logging
import os
import signal
import socket
import tempfile
from functools import lru_cache, partial
from typing import Any

from autobahn.websocket.protocol import PreparedMessage
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server as DaphneServer
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from django.conf import settings
from twisted.internet import reactor as installed_reactor
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IPushProducer
from twisted.logger import formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from twisted.web.http import NO_BODY_CODES
from twisted.web.http_headers import Headers
from zope.interface import implementer  # type: ignore[import-untyped]

from serving.errors import too_large

logger = logging.getLogger(__name__)
reactor: Any = installed_reactor

PIECE = 64 * 1024
# Seconds. A client that is still sending when it is refused would lose the answer if the
# connection were closed at once; so it is listened to for a while, and what it sends dropped.
LINGER = 30
# Seconds that requests in hand get when the server is stopped.
GRACE = 3
# Messages of a websocket that wait for the application; while there are more, none are read.
WAITING = 16
GOING_AWAY = 1012


@implementer(IPushProducer)
class Gate:
    """Closed while the connection holds more than it could send; in Twisted's words a producer."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._client_is_gone = False

    def pauseProducing(self) -> None:
        self._open.clear()

    def resumeProducing(self) -> None:
        self._open.set()

    def stopProducing(self) -> None:
        self._client_is_gone = True
        self._open.set()

    async def passed(self) -> None:
        await self._open.wait()
        if self._client_is_gone:
            # An application that only sends would else never hear that nobody listens.
            await asyncio.sleep(0)


class Request(WebRequest):
    """One HTTP request: its body is received up to the limit, and read when it is asked for."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **options)
        self.gate = Gate()
        self.queue = None
        self._refused = False
        self._read_whole = False
        self._over = asyncio.Event()

    def gotLength(self, length: int | None) -> None:
        super().gotLength(length)
        if length is not None and length > settings.REQUEST_BODY_LIMIT:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        if self._refused:
            return
        if self.content.tell() + len(data) > settings.REQUEST_BODY_LIMIT:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        self._refused = True
        self.content.close()
        # Who asks whether to go on has got the answer.
        self.requestHeaders.removeHeader(b"Expect")
        response = too_large(settings.REQUEST_BODY_LIMIT)
        headers = Headers({name: [value] for name, value in response.items()})
        headers.setRawHeaders("Connection", ["close"])
        headers.setRawHeaders("Content-Length", [str(len(response.content))])
        self.channel.writeHeaders(b"HTTP/1.1", b"413", b"Content Too Large", headers)
        self.channel.write(response.content)
        self.transport.loseWriteConnection()
        reactor.callLater(LINGER, self.transport.abortConnection)

    def process(self) -> Any:
        self.registerProducer(self.gate, True)
        return super().process()

    async def receive(self) -> dict[str, Any]:
        if not self._read_whole and not self._over.is_set():
            piece = self.content.read(PIECE)
            self._read_whole = len(piece) < PIECE
            return {"type": "http.request", "body": piece, "more_body": not self._read_whole}
        await self._over.wait()
        return {"type": "http.disconnect"}

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message.get("body") and (self.method == b"HEAD" or self.code in NO_BODY_CODES):
            message = {**message, "body": b""}
        super().handle_reply(message)

    def finish(self) -> None:
        self.unregisterProducer()
        super().finish()
        self._over.set()

    def handle_exception(self, exception: BaseException) -> None:
        if self._response_started and self.channel is not None:
            # A second answer cannot be begun, and a body that just ends would look whole.
            self.channel.transport.abortConnection()
        else:
            super().handle_exception(exception)

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.hang_up()

    def hang_up(self) -> None:
        """Tell the application that its client is gone."""
        self._over.set()
        self.gate.stopProducing()


class WebSocket(WebSocketProtocol):
    """One websocket: not read on while the application has messages enough."""

    def connectionMade(self) -> None:
        self.gate = Gate()
        self.queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        # Until now the connection told the HTTP channel to wait, which has ended.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self.gate, True)
        super().connectionMade()

    def onMessage(self, payload: bytes, is_binary: bool) -> None:
        super().onMessage(payload, is_binary)
        if self.queue.qsize() >= WAITING:
            self.transport.pauseProducing()

    def serverSend(self, content: str | bytes, binary: bool = False) -> None:
        if isinstance(content, str) and not binary and self.state == self.STATE_OPEN:
            # sendPreparedMessage comes down to this, after it has described it for a debug log.
            write_at_once(self.transport, text_message(content).payloadHybi)
        else:
            super().serverSend(content, binary)

    async def receive(self) -> dict[str, Any]:
        message = await self.queue.get()
        if self.queue.empty():
            self.transport.resumeProducing()
        return message

    def connectionLost(self, reason: Failure) -> None:
        super().connectionLost(reason)
        self.gate.stopProducing()

    def hang_up(self) -> None:
        self.dropConnection(abort=True)


@lru_cache(maxsize=16)
def text_message(text: str) -> PreparedMessage:
    """Encoded once for all the websockets that are sent the same, one after the other."""
    return PreparedMessage(text.encode(), isBinary=False, applyMask=False, doNotCompress=True)


def write_at_once(transport: Any, data: bytes) -> None:
    """Give a message to the socket in this turn of the loop, where it takes it: a watcher for
    each of 200 sockets, for one turn each, costs more than the messages."""
    if transport.connected and not transport.dataBuffer and not transport._tempDataBuffer:
        sent = transport.writeSomeData(data)
        # What is wrong with the connection shows when the rest is written.
        data = data[sent if isinstance(sent, int) else 0 :]
    if data:
        transport.write(data)


class RequestFactory(HTTPFactory):
    def buildProtocol(self, address: Any) -> Any:
        protocol = super().buildProtocol(address)
        protocol.requestFactory = Request
        return protocol


class SocketFactory(WebSocketFactory):
    protocol = WebSocket


class Server(DaphneServer):
    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.connections: dict[Any, dict[str, Any]] = {}
        self.ports: list[Any] = []

    def run(self) -> None:
        """Serve until a signal comes; `abort_start` is true where it could not listen."""
        # Where /tmp is memory, bodies that wait there would fill it.
        tempfile.tempdir = str(settings.FILE_UPLOAD_TEMP_DIR)
        asyncio.set_event_loop(reactor._asyncioEventloop)
        observers: list[Any] = [log_failure]
        globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False, discardBuffer=True)
        self.make_factories()
        self.listen()
        if self.abort_start:
            return
        reactor.callLater(1, self.application_checker)
        reactor.callLater(2, self.timeout_checker)
        reactor.addSystemEventTrigger("before", "shutdown", self.kill_all_applications)
        reactor.run(installSignalHandlers=self.signal_handlers)

    def make_factories(self) -> None:
        self.http_factory = RequestFactory(self)
        self.ws_factory = SocketFactory(self, server=self.server_name)
        self.ws_factory.setProtocolOptions(
            autoPingTimeout=self.ping_timeout,
            allowNullOrigin=True,
            openHandshakeTimeout=self.websocket_handshake_timeout,
            maxMessagePayloadSize=self.websocket_max_message_size,
            maxFramePayloadSize=self.websocket_max_frame_size,
        )

    def listen(self) -> None:
        for description in self.endpoints:
            try:
                listening = endpoint(description).listen(self.http_factory)
            except OSError:
                listening = fail()
            listening.addCallbacks(self.listen_success, self.listen_error)

    def listen_success(self, port: Any) -> None:
        self.ports.append(port)
        host = port.getHost()
        if isinstance(host, UNIXAddress):
            logger.info("Listening on UNIX socket %s", os.fsdecode(host.name or b""))
        else:
            self.listening_addresses.append((host.host, host.port))
            logger.info("Listening on TCP address %s:%s", host.host, host.port)

    def create_application(self, protocol: Any, scope: dict[str, Any]) -> Any:
        """Start the application for a connection; gives where daphne leaves its messages."""
        if protocol not in self.connections:
            return None
        scope.setdefault("asgi", {"version": "3.0"})
        if scope["client"] is None:
            # Who comes over a UNIX socket is on this machine; limits count by address.
            scope["client"] = ["127.0.0.1", 0]
        application = self.application(
            scope=scope, receive=protocol.receive, send=partial(self.handle_reply, protocol)
        )
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(application)
        return protocol.queue

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        await super().handle_reply(protocol, message)
        if message["type"] in ("http.response.body", "websocket.send"):
            await protocol.gate.passed()

    def kill_all_applications(self) -> "Deferred[None]":
        return Deferred.fromFuture(asyncio.ensure_future(self.wind_up()))

    async def wind_up(self) -> None:
        """Take no more, let what is in hand finish, then end it; a second signal does not wait."""
        for port in self.ports:
            port.stopListening()
        finishing = asyncio.ensure_future(self.let_finish())
        if self.signal_handlers:
            for number in (signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().add_signal_handler(number, finishing.cancel)
        await asyncio.wait([finishing])
        if running := self.running_applications():
            logger.warning("Stopped without waiting for what still ran: %d", len(running))
            for protocol in self.connections:
                protocol.hang_up()
            _, pending = await asyncio.wait(running, timeout=1)
            for application in pending:
                application.cancel()
            # Once more round the loop, so that they are told.
            await asyncio.sleep(0.1)

    async def let_finish(self) -> None:
        for protocol in self.connections:
            if isinstance(protocol, WebSocket) and protocol.state == WebSocket.STATE_OPEN:
                protocol.sendCloseFrame(code=GOING_AWAY)
        if running := self.running_applications():
            await asyncio.wait(running, timeout=GRACE)
            # What they said last has to leave before the connections are closed.
            await asyncio.sleep(0.1)

    def running_applications(self) -> list[asyncio.Future]:
        found = [details.get("application_instance") for details in self.connections.values()]
        return [application for application in found if application and not application.done()]


def log_failure(event: dict[str, Any]) -> None:
    """Of what Twisted says: what nobody foresaw."""
    if failure := event.get("log_failure"):
        details = (failure.type, failure.value, failure.getTracebackObject())
        logger.error("%s", formatEvent(event), exc_info=details)


def endpoint(description: str) -> Any:
    """As daphne names them; an open socket may be of any family, where daphne takes IPv4 only."""
    kind, _, number = description.partition("fd:fileno=")
    if kind or not number:
        return serverFromString(reactor, description)
    with socket.socket(fileno=os.dup(int(number))) as opened:
        return AdoptedStreamServerEndpoint(reactor, int(number), opened.family)
