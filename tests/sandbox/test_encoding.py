import gzip
import json

import httpx
import pytest

from tests.sandbox.api import Api, body, error, request


def sent(api: Api, content: bytes, encoding: str, path: str = "/v1/messages") -> httpx.Response:
    return api.post(path, content=content, headers={"content-encoding": encoding})


def plain() -> bytes:
    return json.dumps(body()).encode()


def test_it_works(api: Api) -> None:
    assert sent(api, gzip.compress(plain()), "gzip").json()["content"] == api.ask()["content"]
    assert sent(api, plain(), "identity").status_code == 200


@pytest.mark.parametrize(
    ("content", "encoding", "status", "code"),
    [
        (plain(), "gzip", 400, "request_body_encoding_invalid"),
        (gzip.compress(plain(), mtime=0)[:-9], "gzip", 400, "request_body_encoding_invalid"),
        (plain(), "br", 400, "request_body_encoding_unsupported"),
        (plain(), "nothing", 400, "request_body_encoding_unsupported"),
        (
            gzip.compress(b" " * (33 << 20), mtime=0),
            "gzip",
            413,
            "request_body_too_large_after_decoding",
        ),
    ],
    ids=["plain", "cut", "br", "unknown", "large"],
)
def test_what_cannot_be_decoded(
    api: Api, content: bytes, encoding: str, status: int, code: str
) -> None:
    reply = sent(api, content, encoding)
    assert reply.status_code == status
    assert reply.json()["error"]["details"] == {"error_code": code}
    assert reply.json()["request_id"] == reply.headers["request-id"]


def test_a_batch_comes_plain(api: Api) -> None:
    content = gzip.compress(json.dumps({"requests": [request()]}).encode())
    refused = sent(api, content, "gzip", "/v1/messages/batches")
    message = "content-encoding: gzip is not supported"
    assert error(refused) == (400, "invalid_request_error", message)
    assert len(api.ledger()["refused"]) == 1
