"""HTTP and websockets by hand, so that a test decides what is sent and read, and when."""

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

ONE = 64 * 1024


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes = b""


class Wire:
    """One connection, which reads no further than it is asked to."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ONE)
        self.socket.settimeout(60)
        self.socket.connect(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def __enter__(self) -> "Wire":
        return self

    def __exit__(self, *details: object) -> None:
        self.file.close()
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def ask(self, line: str, body: bytes = b"", **headers: object) -> None:
        if body:
            headers = {"Content_Length": len(body), **headers}
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        head = "\r\n".join([f"{line} HTTP/1.1", "Host: localhost", *lines, "", ""])
        self.send(head.encode() + body)

    def head(self) -> Reply:
        status = int(self.file.readline().split()[1])
        headers = {}
        while (line := self.file.readline().strip()) != b"":
            name, _, value = line.decode().partition(": ")
            headers[name.lower()] = value
        return Reply(status, headers)

    def pieces(self, reply: Reply) -> Iterator[bytes]:
        """The body, chunk for chunk."""
        if "content-length" in reply.headers:
            yield self.file.read(int(reply.headers["content-length"]))
            return
        while length := int(self.file.readline(), 16):
            yield self.file.read(length)
            self.file.readline()
        self.file.readline()

    def reply(self) -> Reply:
        reply = self.head()
        reply.body = b"".join(self.pieces(reply))
        return reply

    def get(self, path: str) -> Reply:
        self.ask(f"GET {path}")
        return self.reply()

    def is_closed(self) -> bool:
        return self.file.read(1) == b""

    def open_websocket(self, path: str) -> None:
        self.ask(
            f"GET {path}",
            Upgrade="websocket",
            Connection="Upgrade",
            Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
            Sec_WebSocket_Version=13,
        )
        assert self.head().status == 101

    def send_text(self, text: str) -> None:
        data = text.encode()
        assert 125 < len(data) < 65_536
        # Masked with zeros, which leaves the text as it is.
        self.send(struct.pack(">BBH4x", 0x81, 0x80 | 126, len(data)) + data)

    def frame(self) -> tuple[int, bytes]:
        """The kind of the next frame, 1 text, 2 bytes, 8 close, and what it holds."""
        kind, length = self.file.read(2)
        if length == 126:
            length = struct.unpack(">H", self.file.read(2))[0]
        elif length == 127:
            length = struct.unpack(">Q", self.file.read(8))[0]
        return kind & 0xF, self.file.read(length)
