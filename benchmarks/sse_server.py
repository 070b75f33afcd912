"""A server that streams one answer, as fast as it is read or at a pace; a process of its own.

    python -m benchmarks.sse_server     prints its address

`max_tokens` of the request is the number of text deltas; `metadata.user_id` the pace: deltas a
second, 0 for as fast as possible. With a pace each delta holds the time at which it was sent.
"""

import asyncio
import json
import time

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 12, "output_tokens": 1},
    },
}
BLOCK = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
END = [
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 9},
    },
    {"type": "message_stop"},
]
HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)


def event(data: dict) -> bytes:
    return f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()


def delta(text: str) -> bytes:
    grown = {"type": "text_delta", "text": text}
    return event({"type": "content_block_delta", "index": 0, "delta": grown})


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while request := await read_request(reader):
            writer.write(HEAD)
            await stream(writer, request["max_tokens"], request.get("metadata", {}))
            writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    finally:
        writer.close()


async def read_request(reader: asyncio.StreamReader) -> dict:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().splitlines() if b"content-length" in line
    )
    request: dict = json.loads(await reader.readexactly(length))
    return request


async def stream(writer: asyncio.StreamWriter, deltas: int, metadata: dict) -> None:
    pace = float(metadata.get("user_id", 0))
    writer.write(chunk(event(START) + event(BLOCK)))
    if pace:
        await stream_at(writer, deltas, pace)
    else:
        # Ten events a chunk, about what arrives together at full speed.
        ten = chunk(delta(" a few words") * 10)
        for _ in range(deltas // 10):
            writer.write(ten)
            await writer.drain()
    writer.write(chunk(b"".join(map(event, END))))


async def stream_at(writer: asyncio.StreamWriter, deltas: int, pace: float) -> None:
    began = time.monotonic()
    for number in range(deltas):
        await asyncio.sleep(max(0.0, began + number / pace - time.monotonic()))
        writer.write(chunk(delta(f" {time.monotonic_ns()}")))


async def main() -> None:
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(f"listening on http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
