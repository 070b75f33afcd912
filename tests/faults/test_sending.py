"""F1 to F8, F10 to F13, F15, F19, F20: what goes wrong while a part is sent, and is read of it."""

import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pytest_django import Settings

from batches import reconciling, submitting
from batches.models import MessageBatch
from tests.batches.stage import HOUR, MINUTE, SandboxScope, make_batch, make_part, now, remote
from tests.processes import ROOT
from tests.scripted_api import BATCHES, Drop, Reply, ScriptedApi, page, refusal
from workspaces.models import ApiKey

pytestmark = pytest.mark.django_db(transaction=True)
NOT_KNOWN = "We do not know whether it was created"
NEVER_AGAIN = "Nothing is sent again by itself."


@pytest.fixture
def part(workspace: Any) -> MessageBatch:
    return make_part(make_batch(workspace))


def send(part: MessageBatch, api: ScriptedApi, *answers: Any) -> MessageBatch:
    api.plan("GET", BATCHES, page(remote("msgbatch_head", 9)))
    api.plan("POST", BATCHES, *answers)
    assert submitting.step(now())
    part.refresh_from_db()
    return part


def misbehave(there: SandboxScope, on: str, kind: str, **options: Any) -> None:
    there.call("/_sandbox/faults", {"on": on, "kind": kind} | options)


def send_into(there: SandboxScope, part: MessageBatch, kind: str, **options: Any) -> MessageBatch:
    """Send the part where the create misbehaves in this way."""
    misbehave(there, "create", kind, **options)
    assert submitting.step(now())
    part.refresh_from_db()
    return part


def look(part: MessageBatch, after: timedelta = MINUTE) -> MessageBatch:
    """Let a worker look for the part, so long from now."""
    MessageBatch.objects.filter(pk=part.pk).update(due_at=now())
    assert reconciling.step(now() + after)
    part.refresh_from_db()
    return part


def settle(part: MessageBatch) -> MessageBatch:
    for minutes in (1, 5, 10, 20):
        look(part, minutes * MINUTE)
    return part


def wait_for_its_end(there: SandboxScope, id: str) -> None:
    there.change(clock_offset=3_600)
    assert there.call(f"/v1/messages/batches/{id}", method="GET")["processing_status"] == "ended"


def test_f01_connection_refused_waits_and_nothing_is_created(api, part, said):
    api.hang_up()
    assert submitting.step(now())
    part.refresh_from_db()
    assert (part.state, api.requests) == ("queued", [])
    assert part.due_at > now()
    text = said(part.batch)
    assert "Part 1 waits. Nothing was sent to 127.0.0.1:" in text
    assert "It is tried again by itself." in text


class Nothing(BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Nobody gets as far as a request."""


@contextmanager
def with_own_certificate(directory: Path) -> Iterator[str]:
    """A server whose certificate nobody has signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    begin = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, begin, begin + 9 * 24 * HOUR)
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    bare = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file = directory / "certificate.pem"
    file.write_bytes(key.private_bytes(pem, *bare) + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = HTTPServer(("127.0.0.1", 0), Nothing)
    server.handle_error = lambda *args: None  # type: ignore[method-assign]
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_f02_certificate_of_nobody_known_sends_nothing(
    part, workspace, said, settings: Settings, tmp_path
):
    with with_own_certificate(tmp_path) as url:
        settings.SANDBOX_URL = url
        ApiKey.seal(workspace, "sandbox", "sk-ant-scripted-key", models_read_at=now())
        assert submitting.step(now())
    part.refresh_from_db()
    # Nothing was posted, so it may wait; a certificate that fails at the POST itself rejects.
    assert part.state == "queued"
    assert "certificate" in said(part.batch)


def test_f02_no_switch_turns_the_check_of_certificates_off():
    sources = [*ROOT.glob("claude_api/*.py"), *ROOT.glob("config/*.py"), *ROOT.glob("batches/*.py")]
    assert len(sources) > 20
    assert [path for path in sources if re.search(r"verify\s*=\s*False", path.read_text())] == []


def test_f03_reset_in_the_body_is_looked_for_and_then_asked_about(at_sandbox, part, said):
    send_into(at_sandbox, part, "drop", when="in_body", bytes=100, end="reset")
    assert part.state == "unknown"
    text = said(part.batch)
    assert NOT_KNOWN in text
    assert NEVER_AGAIN in text
    settle(part)
    assert part.needs_person
    assert at_sandbox.ledger()["creates"] == []
    text = said(part.batch)
    assert "It was not found at the API." in text
    assert NEVER_AGAIN in text
    assert not submitting.step(now() + 24 * HOUR)


def test_f04_reset_after_the_head_of_the_answer_is_never_judged_absent(at_sandbox, part, said):
    send_into(at_sandbox, part, "cut", bytes=20, end="reset", transfer="length")
    assert part.state == "unknown"
    assert "The API had accepted it." in said(part.batch)
    look(part)
    [create] = at_sandbox.ledger()["creates"]
    assert [found["id"] for found in part.candidates] == [create["id"]]
    wait_for_its_end(at_sandbox, create["id"])
    look(part, 2 * MINUTE)
    assert (part.state, part.message_batch_id) == ("submitted", create["id"])


@pytest.mark.parametrize("end", ["fin", "reset"])
def test_f05_reset_after_the_body_is_found_and_proven(at_sandbox, part, said, end):
    send_into(at_sandbox, part, "drop", when="after_effect", end=end)
    assert part.state == "unknown"
    assert NOT_KNOWN in said(part.batch)
    [create] = at_sandbox.ledger()["creates"]
    wait_for_its_end(at_sandbox, create["id"])
    look(part)
    assert (part.state, part.message_batch_id) == ("submitted", create["id"])
    found = f"Part 1 was found: {create['id']}. Its first result line shows that it is ours."
    assert found in said(part.batch, "activity/")
    assert len(at_sandbox.ledger()["creates"]) == 1


def test_f06_batch_that_is_made_after_we_hung_up_is_found(at_sandbox, part, said):
    send_into(at_sandbox, part, "late", seconds=0.5)
    look(part)
    assert (part.state, part.candidates) == ("unknown", [])
    at_sandbox.change(clock_offset=60)
    while not (creates := at_sandbox.ledger()["creates"]):
        threading.Event().wait(0.1)
    wait_for_its_end(at_sandbox, creates[0]["id"])
    look(part, 5 * MINUTE)
    assert part.message_batch_id == creates[0]["id"]
    assert "was found" in said(part.batch, "activity/")


def test_f07_list_that_lags_ten_minutes_brings_no_early_question(at_sandbox, part, said):
    misbehave(at_sandbox, "list", "lag", seconds=600)
    send_into(at_sandbox, part, "drop", when="after_effect")
    for minutes in (1, 5, 10):
        look(part, minutes * MINUTE)
        assert not part.needs_person
        assert "It was not found at the API." not in said(part.batch)
    at_sandbox.change(clock_offset=700)
    look(part, 12 * MINUTE)
    [create] = at_sandbox.ledger()["creates"]
    if part.state == "unknown":
        assert [found["id"] for found in part.candidates] == [create["id"]]
        wait_for_its_end(at_sandbox, create["id"])
        look(part, 20 * MINUTE)
    assert part.message_batch_id == create["id"]


def test_f08_batches_of_others_with_as_many_requests_are_told_apart(at_sandbox, part, said):
    misbehave(at_sandbox, "create", "foreign_batches", batches=2, requests=5, when="before")
    send_into(at_sandbox, part, "drop", when="after_effect")
    look(part)
    assert len(part.candidates) == 3
    assert part.state == "unknown"
    [create] = [one for one in at_sandbox.ledger()["creates"] if part.nonce in str(one)]
    wait_for_its_end(at_sandbox, create["id"])
    look(part, 2 * MINUTE)
    assert part.message_batch_id == create["id"]
    assert create["id"] in said(part.batch)


def test_f10_rate_limit_says_how_long_and_is_obeyed(api, part, key, said):
    send(part, api, refusal(429, "rate_limit_error", "Slow down.", retry_after="37"))
    key.refresh_from_db()
    assert key.paused_until - now() > timedelta(seconds=35)
    assert (part.state, part.due_at) == ("queued", part.due_at)
    assert "Part 1 waits. Not sent: The API answers 429 rate_limit_error: Slow down" in said(
        part.batch
    )


SPENT = {
    "f11": refusal(429, "rate_limit_error", "Limit.", code="enforced_spend_limit_reached"),
    "f12": refusal(
        400, "invalid_request_error", "You have reached your specified API usage limits."
    ),
}


@pytest.mark.parametrize("answer", SPENT.values(), ids=SPENT)
def test_f11_and_f12_spend_limit_stops_and_says_what_to_do(api, part, said, answer):
    send(part, api, answer)
    assert part.state == "queued"
    text = said(part.batch)
    assert answer.content["error"]["message"].rstrip(".") in text
    assert "Nothing is lost" in text
    assert part.batch.state == "needs_you"
    assert "Nothing is lost" in said(part.batch, "home")


UNCERTAIN = {
    "500": refusal(500, "api_error", "Internal server error"),
    "502 in HTML": Reply(b"<html>Bad gateway</html>", 502, {"content-type": "text/html"}),
    "504": refusal(504, "timeout_error", "too slow"),
    "529": refusal(529, "overloaded_error", "Overloaded"),
}


@pytest.mark.parametrize(("status", "answer"), UNCERTAIN.items(), ids=UNCERTAIN)
def test_f13_failing_api_leaves_an_honest_unknown(api, part, said, status, answer):
    send(part, api, answer)
    assert part.state == "unknown"
    assert not submitting.step(now() + HOUR)
    assert api.paths("POST") == [BATCHES]
    text = said(part.batch)
    assert f"{NOT_KNOWN}: The API answers {status[:3]}" in text
    assert NEVER_AGAIN in text


def test_f15_too_large_is_rejected_with_both_sizes(api, part, said):
    send(part, api, refusal(413, "request_too_large", "Request exceeds the maximum size"))
    assert (part.state, part.batch.not_sent) == ("rejected", 5)
    text = said(part.batch)
    assert "Request exceeds the maximum size" in text
    assert "256 MB" in text


UNREADABLE = {
    "cut JSON": Reply(b'{"id": "msgbatch_1", "type'),
    "HTML": Reply(b"<html>Fine</html>", headers={"content-type": "text/html"}),
    "empty": Reply(b""),
    "another thing": Reply({"id": 7}),
}


@pytest.mark.parametrize("answer", UNREADABLE.values(), ids=UNREADABLE)
def test_f19_answer_that_cannot_be_read_is_unknown_but_accepted(api, part, said, answer):
    send(part, api, answer)
    assert part.state == "unknown"
    text = said(part.batch)
    assert NOT_KNOWN in text
    assert "The API had accepted it." in text


def test_f20_redirect_is_refused_and_nobody_else_hears_of_it(api, part, said):
    with ScriptedApi() as elsewhere:
        to = {"location": f"{elsewhere.url}/v1/messages/batches"}
        send(part, api, Reply(status=307, headers=to))
        assert elsewhere.connections == 0
    assert part.state == "rejected"
    assert "redirects are not followed" in said(part.batch)


def test_f41_journal_is_read_before_anything_is_looked_for(api, part, said):
    """The eight points of a kill are those of tests/batches/test_killing.py and make torture."""
    send(part, api, Drop())
    body = remote("msgbatch_1")
    found = submitting.msgspec.convert(body, submitting.RemoteBatch)
    submitting.write_created(part, submitting.Created(part.nonce, found, "req_1"))
    look(part)
    assert (part.state, part.message_batch_id) == ("submitted", "msgbatch_1")
    assert "Part 1 was sent: msgbatch_1." in said(part.batch, "activity/")
