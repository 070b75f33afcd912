import json
import logging
from datetime import UTC, datetime

import httpx
import pytest

from claude_api import (
    ApiError,
    BillingRefused,
    ClaudeError,
    Client,
    Conflict,
    InvalidRequest,
    KeyRefused,
    NotFound,
    OutcomeUnknown,
    PermissionRefused,
    RateLimited,
    Redirected,
    ReplyFacts,
    RequestCounts,
    ServerError,
    SpendLimitReached,
    TooLarge,
)

KEY = "sk-ant-canary-7f3b"
BATCH = {
    "id": "msgbatch_01Abc",
    "type": "message_batch",
    "processing_status": "in_progress",
    "request_counts": {"processing": 2, "succeeded": 0, "errored": 1, "canceled": 0, "expired": 0},
    "created_at": "2025-01-29T14:24:59.570697+00:00",
    "expires_at": "2025-01-30T14:24:59.570697+00:00",
    "ended_at": None,
    "archived_at": None,
    "cancel_initiated_at": None,
    "results_url": None,
}


def make_client(*replies: httpx.Response, url="http://api.test") -> tuple[Client, list]:
    """A client that gets these replies in turn, and the requests it will have made."""
    waiting, requests = list(replies), []

    def reply(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        return waiting.pop(0)

    return Client(url, KEY, transport=httpx.MockTransport(reply)), requests


def ok(content, **headers) -> httpx.Response:
    return httpx.Response(200, json=content, headers=headers)


def refusal(status: int, type: str, message="no", code=None, **headers) -> httpx.Response:
    error = {"type": type, "message": message}
    if code:
        error["details"] = {"error_code": code}
    body = {"type": "error", "error": error, "request_id": "req_body"}
    return httpx.Response(status, json=body, headers=headers)


def error_of(reply: httpx.Response) -> ClaudeError:
    client, _ = make_client(reply)
    with client, pytest.raises(ClaudeError) as caught:
        client.retrieve_batch("msgbatch_01Abc")
    return caught.value


def test_it_works():
    client, requests = make_client(ok(BATCH, **{"request-id": "req_1"}))
    with client:
        batch, request_id = client.create_batch(iter([b'{"requests":', b"[]}"]), 15)
    assert (batch.id, batch.processing_status, request_id) == (
        "msgbatch_01Abc",
        "in_progress",
        "req_1",
    )
    assert batch.request_counts == RequestCounts(processing=2, errored=1)
    assert batch.request_counts.total == 3
    assert batch.created_at == datetime(2025, 1, 29, 14, 24, 59, 570697, tzinfo=UTC)
    assert requests[0].content == b'{"requests":[]}'


def test_every_request_says_who_asks_and_which_version():
    client, requests = make_client(ok(BATCH))
    client.retrieve_batch("msgbatch_01Abc")
    headers = requests[0].headers
    assert headers["x-api-key"] == KEY
    assert headers["anthropic-version"] == "2026-10-21"
    assert headers["user-agent"].startswith("sluice/")
    assert "authorization" not in headers


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda client: client.retrieve_batch("b_1"), "GET /v1/messages/batches/b_1"),
        (lambda client: client.cancel_batch("b_1"), "POST /v1/messages/batches/b_1/cancel"),
        (lambda client: client.delete_batch("b_1"), "DELETE /v1/messages/batches/b_1"),
    ],
)
def test_each_call_has_its_route(call, expected):
    client, requests = make_client(ok(BATCH))
    call(client)
    assert f"{requests[0].method} {requests[0].url.raw_path.decode()}" == expected


def test_a_base_url_may_have_a_path():
    client, requests = make_client(ok(BATCH), url="https://gateway.test/claude/")
    client.retrieve_batch("b_1")
    assert str(requests[0].url) == "https://gateway.test/claude/v1/messages/batches/b_1"


@pytest.mark.parametrize("id", ["", "../models", "a/b", "a?b", "a b", "é", "a\n"])
def test_a_strange_id_never_reaches_a_url(id):
    client, requests = make_client(ok(BATCH))
    for call in (client.retrieve_batch, client.cancel_batch, client.delete_batch):
        with pytest.raises(ValueError, match="is not an id of the API"):
            call(id)
    with pytest.raises(ValueError, match="is not an id of the API"):
        client.list_batches(after_id=id)
    with pytest.raises(ValueError, match="is not an id of the API"):
        client.download_results(id).__enter__()
    assert requests == []


def test_a_list_page_is_asked_for_and_read():
    page = {"data": [BATCH], "has_more": True, "first_id": "b_1", "last_id": "b_9"}
    client, requests = make_client(ok(page), ok(page | {"data": [], "last_id": None}))
    read = client.list_batches(before_id="b_0")
    assert dict(requests[0].url.params) == {"limit": "1000", "before_id": "b_0"}
    assert (len(read.data), read.has_more, read.first_id, read.last_id) == (1, True, "b_1", "b_9")
    assert client.list_batches(limit=1, after_id="b_9").data == []
    assert dict(requests[1].url.params) == {"limit": "1", "after_id": "b_9"}


def test_unknown_keys_and_statuses_pass_through():
    client, _ = make_client(ok(BATCH | {"processing_status": "pausing", "mood": "good"}))
    assert client.retrieve_batch("b_1").processing_status == "pausing"


def test_a_time_without_zone_is_refused():
    client, _ = make_client(ok(BATCH | {"created_at": "2025-01-29T14:24:59"}))
    with pytest.raises(OutcomeUnknown, match="cannot be read as MessageBatch"):
        client.retrieve_batch("b_1")


def test_last_holds_what_the_headers_said():
    headers = {
        "request-id": "req_7",
        "anthropic-workspace-id": "wrkspc_1",
        "date": "Fri, 20 Nov 2026 10:00:00 GMT",
        "retry-after": "10",
    }
    client, _ = make_client(ok(BATCH, **headers), ok(BATCH))
    client.retrieve_batch("b_1")
    assert client.last == ReplyFacts(
        "req_7", "wrkspc_1", datetime(2026, 11, 20, 10, tzinfo=UTC), 10
    )
    client.retrieve_batch("b_1")
    assert client.last == ReplyFacts()


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (refusal(400, "invalid_request_error"), InvalidRequest),
        (refusal(401, "authentication_error"), KeyRefused),
        (refusal(402, "billing_error"), BillingRefused),
        (refusal(403, "permission_error"), PermissionRefused),
        (refusal(404, "not_found_error"), NotFound),
        (refusal(409, "conflict_error"), Conflict),
        (refusal(413, "request_too_large"), TooLarge),
        (refusal(429, "rate_limit_error"), RateLimited),
        (refusal(429, "rate_limit_error", code="ramp_limit_exceeded"), RateLimited),
        (refusal(429, "rate_limit_error", code="enforced_spend_limit_reached"), SpendLimitReached),
        (refusal(429, "rate_limit_error", code="contract_spend_limit_reached"), SpendLimitReached),
        (refusal(500, "api_error"), ServerError),
        (refusal(504, "timeout_error"), ServerError),
        (refusal(529, "overloaded_error"), ServerError),
        (refusal(404, "a_later_error"), NotFound),
        (refusal(422, "a_later_error"), ApiError),
        (refusal(400, "not_found_error"), NotFound),
        (refusal(502, "invalid_request_error"), ServerError),
    ],
)
def test_each_refusal_has_its_class(reply, expected):
    error = error_of(reply)
    assert type(error) is expected
    assert error.shaped
    assert error.status == reply.status_code
    assert error.request_id == "req_body"
    assert error.is_refusal == (expected not in (ServerError, Conflict))


def test_the_organisations_own_limit_is_known_by_its_message():
    message = "You have reached your specified API usage limits. You regain access on 2026-12-01."
    error = error_of(refusal(400, "invalid_request_error", message))
    assert isinstance(error, SpendLimitReached)
    assert "2026-12-01" in str(error)


def test_a_413_of_the_front_counts_as_shaped():
    body = {"error": {"type": "request_too_large", "message": "Request exceeds the maximum size"}}
    error = error_of(httpx.Response(413, json=body))
    assert (type(error), error.shaped, error.is_refusal) == (TooLarge, True, True)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Sign in</html>",
        b"",
        b"{}",
        b"null",
        b"\xff",
        b"[" * 5000,
        b'{"error":{"type":"invalid_request_error","message":"of a gateway"}}',
        b'{"type":"error","error":{"type":"","message":5}}',
    ],
)
@pytest.mark.parametrize("status", [400, 403, 429, 502])
def test_an_unshaped_error_proves_nothing(status, body):
    error = error_of(httpx.Response(status, content=body, headers={"retry-after": "3"}))
    assert type(error) is (ServerError if status >= 500 else ApiError)
    assert (error.shaped, error.is_refusal, error.retry_after) == (False, False, 3.0)
    assert "not an error of the Claude API" in str(error)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("37", 37.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        ("Fri, 20 Nov 2026 10:00:30 GMT", 30.0),
        ("soon", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_of_the_replys_clock(text, seconds):
    headers = {"retry-after": text, "date": "Fri, 20 Nov 2026 10:00:00 GMT"}
    assert error_of(refusal(429, "rate_limit_error", **headers)).retry_after == seconds


@pytest.mark.parametrize("status", [301, 302, 303, 304, 307, 308])
def test_a_redirect_is_not_followed(status):
    target = "https://elsewhere.test/v1?key=secret"
    client, requests = make_client(httpx.Response(status, headers={"location": target}), ok(BATCH))
    with pytest.raises(Redirected, match=f"api.test answers {status} and points to elsewhere.test"):
        client.create_batch([b"{}"], 2)
    assert len(requests) == 1


@pytest.mark.parametrize("reply", [httpx.Response(204), httpx.Response(200, content=b"[1")])
def test_a_2xx_that_cannot_be_read_is_unknown_but_answered(reply):
    client, _ = make_client(reply)
    with pytest.raises(OutcomeUnknown) as caught:
        client.create_batch([b"{}"], 2)
    assert caught.value.answered


def test_nothing_is_retried():
    client, requests = make_client(refusal(529, "overloaded_error"), ok(BATCH))
    with pytest.raises(ServerError):
        client.create_batch([b"{}"], 2)
    assert len(requests) == 1


def test_neither_key_nor_prompt_is_told(caplog):
    caplog.set_level(logging.DEBUG)
    client, _ = make_client(refusal(401, "authentication_error", f"{KEY} is invalid"), ok(BATCH))
    with pytest.raises(KeyRefused) as caught:
        client.count_tokens({"model": "claude-x", "messages": "the prompt"})
    client.create_batch([b'{"requests":["the prompt"]}'], 27)
    told = f"{caught.value} {caught.value!r} {client!r} {caplog.text}"
    assert KEY not in told
    assert "the prompt" not in told
    assert "[key] is invalid" in told


@pytest.mark.parametrize("key", ["", "sk ant", "sk-ant\n", "sk-é"])
def test_a_key_that_no_header_carries_is_refused(key):
    with pytest.raises(ValueError, match="The API key is empty or holds"):
        Client("http://api.test", key)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.test",
        "ftp://api.test",
        "http://",
        "http://u:p@api.test",
        "http://api.test/?a=1",
        "http://[::1",
        f"http://{'a' * 64}.test",
    ],
)
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(ValueError, match="The API's URL"):
        Client(url, KEY)


def test_results_come_from_our_own_address():
    client, requests = make_client(httpx.Response(200, content=b'{"a":1}\n'))
    with client.download_results("b_1") as chunks:
        assert b"".join(chunks) == b'{"a":1}\n'
    assert str(requests[0].url) == "http://api.test/v1/messages/batches/b_1/results"
    assert requests[0].headers["accept-encoding"] == "identity"


def test_compressed_results_are_refused():
    reply = httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"x"))
    client, _ = make_client(reply)
    with pytest.raises(OutcomeUnknown, match="come as gzip"):
        client.download_results("b_1").__enter__()


def test_results_not_there_yet_are_not_found():
    message = "Message Batch b_1 has no available results."
    client, _ = make_client(refusal(404, "not_found_error", message))
    with pytest.raises(NotFound, match="no available results"):
        client.download_results("b_1").__enter__()


def test_counting_leaves_out_what_does_not_count():
    client, requests = make_client(ok({"input_tokens": 2095}), ok({"input_tokens": 1}))
    params = {"model": "claude-x", "messages": [], "max_tokens": 5, "stream": True}
    assert client.count_tokens(params) == 2095
    assert json.loads(requests[0].content) == {"model": "claude-x", "messages": []}
    assert client.count_tokens(b'{"messages": [1.50], "max_tokens": 5}') == 1
    assert requests[1].content == b'{"messages":[1.50]}'


def test_models_are_read_to_the_last_page():
    model = {"type": "model", "id": "claude-a", "display_name": "A", "lifecycle": "active"}
    first = {"data": [model], "has_more": True, "first_id": "claude-a", "last_id": "claude-a"}
    older = {"data": [{"id": "claude-b"}], "has_more": False, "last_id": "claude-b"}
    client, requests = make_client(ok(first), ok(older))
    models = client.list_models()
    assert [model.id for model in models] == ["claude-a", "claude-b"]
    assert (models[0].lifecycle, models[1].max_tokens) == ("active", None)
    assert requests[1].url.params["after_id"] == "claude-a"


def test_a_model_list_that_repeats_itself_ends():
    page = {"data": [{"id": "claude-a"}], "has_more": True, "last_id": "claude-a"}
    client, requests = make_client(ok(page), ok(page), ok(page))
    assert len(client.list_models()) == 2
    assert len(requests) == 2
