from tests.sandbox.api import Api, error, path


def test_it_works(api: Api) -> None:
    kept, batch = api.finish(), api.finish()
    reply = api.delete(path(batch))
    assert reply.json() == {"id": batch["id"], "type": "message_batch_deleted"}
    assert api.get(path(batch)).status_code == 404
    listed = api.get("/v1/messages/batches").json()["data"]
    assert [each["id"] for each in listed] == [kept["id"]]
    assert [entry["id"] for entry in api.ledger()["deletes"]] == [batch["id"]]


def test_what_is_in_progress_stays(api: Api) -> None:
    api.set(batch_seconds=60)
    batch = api.create()
    assert error(api.delete(path(batch))) == (
        400,
        "invalid_request_error",
        "In progress batches cannot be deleted. Consider canceling the batch instead.",
    )
    api.post(f"{path(batch)}/cancel")
    assert api.delete(path(batch)).status_code == 400
    assert api.ledger()["deletes"] == []


def test_an_unknown_batch_is_not_found(api: Api) -> None:
    assert api.delete("/v1/messages/batches/msgbatch_x").status_code == 404
