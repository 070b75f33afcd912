from tests.sandbox.api import Api, error, path, request


def test_it_works(api: Api) -> None:
    api.set(batch_seconds=60)
    batch = api.create(*(request(f"r{number}") for number in range(200)))
    api.set(clock_offset=20)
    canceling = api.post(f"{path(batch)}/cancel").json()
    assert canceling["processing_status"] == "canceling"
    assert canceling["cancel_initiated_at"] is not None
    assert canceling["request_counts"] == batch["request_counts"]
    counts = api.wait(batch)["request_counts"]
    assert counts["succeeded"] > 0
    assert counts["canceled"] > 0
    assert counts["succeeded"] + counts["canceled"] == 200
    assert list(api.results(batch).values()).count({"type": "canceled"}) == counts["canceled"]


def test_at_once_nearly_all_are_canceled(api: Api) -> None:
    api.set(batch_seconds=600)
    batch = api.create(*(request(f"r{number}") for number in range(100)))
    api.post(f"{path(batch)}/cancel")
    assert api.wait(batch)["request_counts"]["canceled"] > 80


def test_what_is_ended_stays_as_it_is(api: Api) -> None:
    batch = api.finish()
    reply = api.post(f"{path(batch)}/cancel")
    assert (reply.status_code, reply.json()) == (200, batch)


def test_a_second_cancel_changes_nothing(api: Api) -> None:
    api.set(batch_seconds=600)
    batch = api.create()
    first = api.post(f"{path(batch)}/cancel").json()
    assert api.post(f"{path(batch)}/cancel").json() == first
    assert [entry["id"] for entry in api.ledger()["cancels"]] == [batch["id"]] * 2


def test_an_unknown_batch_is_not_found(api: Api) -> None:
    reply = api.post("/v1/messages/batches/msgbatch_x/cancel")
    assert error(reply) == (404, "not_found_error", "Message Batch msgbatch_x not found.")
