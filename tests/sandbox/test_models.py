from tests.sandbox.api import Api, error


def test_it_works(api: Api) -> None:
    listed = api.get("/v1/models").json()
    ids = [model["id"] for model in listed["data"]]
    assert "claude-opus-5-5" in ids
    assert (listed["first_id"], listed["last_id"]) == (ids[0], ids[-1])
    assert "retired" not in {model["lifecycle"] for model in listed["data"]}
    dates = [model["created_at"] for model in listed["data"]]
    assert dates == sorted(dates, reverse=True)


def test_one_model_by_id_and_by_alias(api: Api) -> None:
    model = api.get("/v1/models/claude-haiku-4-5").json()
    assert model == api.get(f"/v1/models/{model['id']}").json()
    assert model["id"] == "claude-haiku-4-5-20251001"
    assert model["display_name"] == "Claude Haiku 4.5"
    assert (model["max_tokens"], model["max_input_tokens"]) == (64_000, 200_000)
    assert model["capabilities"]["thinking"]["types"]["enabled"] == {"supported": True}
    assert model["capabilities"]["effort"]["supported"] is False


def test_pages(api: Api) -> None:
    everything = [model["id"] for model in api.get("/v1/models?limit=1000").json()["data"]]
    first = api.get("/v1/models?limit=4").json()
    second = api.get(f"/v1/models?limit=4&after_id={first['last_id']}").json()
    assert [model["id"] for model in first["data"] + second["data"]] == everything[:8]
    back = api.get(f"/v1/models?limit=4&before_id={second['first_id']}").json()
    assert back["data"] == first["data"]
    assert (first["has_more"], back["has_more"]) == (True, False)


def test_retired_models_on_request(api: Api) -> None:
    retired = api.get("/v1/models", params={"lifecycle[]": "retired"}).json()["data"]
    assert [model["lifecycle"] for model in retired] == ["retired"]
    assert retired[0]["retires_at"] == "2026-08-05T00:00:00Z"


def test_an_unknown_model_is_not_found(api: Api) -> None:
    assert error(api.get("/v1/models/claude-x")) == (404, "not_found_error", "model: claude-x")
    assert api.get("/v1/models?after_id=claude-x").status_code == 404
