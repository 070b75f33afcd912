import json

from tests.sandbox.api import Api, error, path, request


def test_it_works(api: Api) -> None:
    batch = api.finish(request("a"), request("b", model="gpt-4"))
    results = api.results(batch)
    message = results["a"]["message"]
    assert results["a"]["type"] == "succeeded"
    assert message["content"][0]["type"] == "text"
    assert message["usage"]["service_tier"] == "batch"
    assert results["b"] == {
        "type": "errored",
        "error": {
            "type": "error",
            "error": {
                "details": {"error_visibility": "user_facing"},
                "type": "not_found_error",
                "message": "model: gpt-4",
            },
            "request_id": None,
        },
    }


def test_the_wire(api: Api) -> None:
    batch = api.finish(*(request(f"r{number}", "a\u2028b\r") for number in range(50)))
    reply = api.get(f"{path(batch)}/results")
    assert reply.headers["content-type"] == "application/x-jsonl"
    order = [json.loads(line)["custom_id"] for line in reply.content.split(b"\n")[:-1]]
    assert sorted(order) == sorted(f"r{number}" for number in range(50))
    assert order != [f"r{number}" for number in range(50)]
    assert b"\r" not in reply.content
    assert api.get(f"{path(batch)}/results").content == reply.content


def test_there_are_none_before_the_end(api: Api) -> None:
    api.set(batch_seconds=60)
    batch = api.create()
    reply = api.get(f"{path(batch)}/results")
    message = f"Message Batch {batch['id']} has no available results."
    assert error(reply) == (404, "not_found_error", message)
    assert reply.headers["x-should-retry"] == "false"


def test_there_are_none_after_29_days(api: Api) -> None:
    batch = api.finish()
    api.set(clock_offset=29 * 86_400 - 5)
    assert list(api.results(batch)) == ["row-1"]
    api.set(clock_offset=29 * 86_400 + 5)
    assert api.get(f"{path(batch)}/results").status_code == 404


def test_the_version_that_created_the_batch_decides(api: Api, older_api: Api) -> None:
    assert api.result(temperature=1)["error"]["error"]["type"] == "invalid_request_error"
    assert older_api.result(temperature=1)["type"] == "succeeded"


def test_the_failure_share_is_exact_and_mixed(api: Api) -> None:
    api.set(failure_rate=0.1)
    batch = api.finish(*(request(f"r{number}", f"Text {number}") for number in range(200)))
    kinds = [describe(result) for result in api.results(batch).values()]
    failed = [kind for kind in kinds if kind != "end_turn"]
    assert len(failed) == 20
    assert set(failed) == {"overloaded_error", "invalid_request_error", "max_tokens", "refusal"}
    assert batch["request_counts"]["errored"] == sum(kind.endswith("_error") for kind in failed)


def describe(result: dict) -> str:
    if result["type"] == "errored":
        return result["error"]["error"]["type"]
    return result["message"]["stop_reason"]


def test_a_row_that_failed_succeeds_when_sent_again(api: Api) -> None:
    api.set(failure_rate=0.02)
    batch = api.finish(*(request(f"r{number}") for number in range(50)))
    failed = [own for own, result in api.results(batch).items() if describe(result) != "end_turn"]
    assert len(failed) == 1
    again = api.finish(request(failed[0]))
    assert describe(api.results(again)[failed[0]]) == "end_turn"


def test_the_cache_is_created_by_the_first_of_a_prefix_and_read_by_the_others(api: Api) -> None:
    system = [{"type": "text", "text": "word " * 20_000, "cache_control": {"type": "ephemeral"}}]
    batch = api.finish(*(request(f"r{number}", system=system) for number in range(5)))
    results = api.results(batch)
    usages = [results[f"r{number}"]["message"]["usage"] for number in range(5)]
    created = [usage["cache_creation_input_tokens"] for usage in usages]
    read = [usage["cache_read_input_tokens"] for usage in usages]
    assert created[0] > 20_000
    assert created[1:] == [0, 0, 0, 0]
    assert read == [0, *[created[0]] * 4]
