from tests.sandbox.api import Api, error, path, request


def test_it_works(api: Api) -> None:
    batch = api.finish(request("a"), request("b", stream=True))
    assert batch["processing_status"] == "ended"
    assert batch["request_counts"] == {
        "processing": 0,
        "succeeded": 1,
        "errored": 1,
        "canceled": 0,
        "expired": 0,
    }
    assert batch["created_at"] < batch["ended_at"] < batch["expires_at"]


def test_progress_stays_in_processing_and_says_when_to_look_again(api: Api) -> None:
    api.set(batch_seconds=60)
    batch = api.create(request("a"), request("b"))
    api.set(clock_offset=29)
    reply = api.get(path(batch))
    assert reply.json() == batch
    assert reply.headers["retry-after"] == "10"


def test_it_ends_by_the_clock_of_the_scope(api: Api) -> None:
    api.set(batch_seconds=3600)
    batch = api.create()
    api.set(clock_offset=3600 * 1.6)
    assert api.retrieve(batch)["processing_status"] == "ended"


def test_results_url_is_where_the_client_dialled(api: Api) -> None:
    batch = api.finish()
    assert batch["results_url"] == f"{api.http.base_url}{path(batch)}/results".replace(
        "//v1", "/v1"
    )
    reply = api.get(path(batch), headers={"host": "api.test:99"})
    assert reply.json()["results_url"] == f"http://api.test:99{path(batch)}/results"


def test_what_was_not_run_in_24_hours_expires(api: Api) -> None:
    api.set(batch_seconds=4 * 86_400)
    batch = api.create(*(request(f"r{number}") for number in range(40)))
    api.set(clock_offset=86_401)
    ended = api.retrieve(batch)
    counts = ended["request_counts"]
    assert ended["ended_at"] == ended["expires_at"]
    assert counts["expired"] > 0
    assert counts["succeeded"] > 0
    assert counts["expired"] + counts["succeeded"] == 40
    kinds = [result["type"] for result in api.results(batch).values()]
    assert kinds.count("expired") == counts["expired"]


def test_after_29_days_the_batch_is_archived(api: Api) -> None:
    batch = api.finish()
    api.set(clock_offset=29 * 86_400 + 1)
    archived = api.retrieve(batch)
    assert archived["archived_at"] is not None
    assert archived["results_url"] is None
    assert archived["request_counts"] == batch["request_counts"]


def test_an_unknown_batch_is_not_found(api: Api) -> None:
    reply = api.get("/v1/messages/batches/msgbatch_x")
    assert error(reply) == (404, "not_found_error", "Message Batch msgbatch_x not found.")
