from decimal import Decimal

import pytest
from django.template import Context, Template

from batches.costing import Bar, Span, at_most, dollars
from batches.models import Batch
from claude_api import Usage
from claude_api.pricing import FILE, LIVE_SHARE, cost, price_list, prices_of
from config.prices import write
from tests.batches.build import make_batch, make_part, make_run

MILLION = 1_000_000


def span(low, high, most):
    return Span(Decimal(low), Decimal(high), Decimal(most))


def test_it_works():
    # 412 at $0.50 and 300 at $2.50 for a million: half of what Haiku 4.5 costs live.
    assert cost("claude-haiku-4-5", Usage(412, 300)) == Decimal("0.000956")


@pytest.mark.parametrize(
    ("usage", "dollars"),
    [
        (Usage(input_tokens=MILLION), "0.50"),
        (Usage(output_tokens=MILLION), "2.50"),
        (Usage(cache_read_input_tokens=MILLION), "0.05"),
        (Usage(cache_creation_input_tokens=MILLION), "0.625"),
        (Usage(cache_creation_input_tokens=MILLION, ephemeral_5m_input_tokens=MILLION), "0.625"),
        (Usage(cache_creation_input_tokens=MILLION, ephemeral_1h_input_tokens=MILLION), "1"),
        (Usage(input_tokens=MILLION, inference_geo="us"), "0.55"),
        # Searches cost in a batch what they cost elsewhere: $10 for a thousand.
        (Usage(web_search_requests=3), "0.03"),
        (Usage(), "0"),
    ],
)
def test_each_kind_of_token_has_its_price(usage, dollars):
    assert cost("claude-haiku-4-5", usage) == Decimal(dollars)


def test_a_long_prompt_changes_the_price_of_the_whole_request():
    assert cost("claude-haiku-5-5", Usage(100_000, 1_000)) == Decimal("0.00525")
    assert cost("claude-haiku-5-5", Usage(100_001, 1_000)) == Decimal("0.02625025")
    cached = Usage(50_000, 0, cache_read_input_tokens=50_100)
    assert cost("claude-haiku-5-5", cached) == Decimal("0.0137525")


@pytest.mark.parametrize(
    ("model", "input_price"),
    [
        ("claude-haiku-4-5-20251001", "0.50"),
        ("claude-opus-4-5-20251101", "2.50"),
        ("claude-opus-4-1-20250805", "7.50"),
        ("claude-opus-4-20250514", "7.50"),
        ("claude-opus-5", "2.50"),
        ("claude-opus-5-5", "2"),
        ("claude-sonnet-4-6", "1.50"),
    ],
)
def test_a_model_is_known_by_its_alias_and_by_its_day(model, input_price):
    assert prices_of(model).input == Decimal(input_price)


@pytest.mark.parametrize("model", ["claude-x", "", "claude-opus-5-1", "claude-haiku-4-50", "opus"])
def test_the_price_of_an_unknown_model_is_unknown(model):
    assert prices_of(model) is None
    assert cost(model, Usage(412, 300)) is None


def test_the_file_is_what_the_package_says():
    assert FILE.read_bytes() == write(price_list().as_of)
    assert prices_of("claude-haiku-4-5").as_of == price_list().as_of


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        ("0", "$0.00"),
        ("9.564", "$9.56"),
        ("1204.5", "$1,204.50"),
        ("0.01", "$0.01"),
        ("0.0099", "$0.0099"),
        ("0.000894", "$0.00089"),
        ("0.0009", "$0.0009"),
        ("0.00000001", "$0.00000001"),
    ],
)
def test_dollars(amount, said):
    assert dollars(Decimal(amount)) == said


def test_a_limit_is_rounded_up():
    assert at_most(Decimal("9.5501")) == "$9.56"
    assert at_most(Decimal("0.000441")) == "$0.00045"


@pytest.mark.parametrize(
    ("actual", "verdict"), [("4.44", "inside"), ("3.00", "below"), ("6.00", "above")]
)
def test_the_cost_is_held_against_the_estimate(actual, verdict):
    bar = Bar(span("3.90", "5.20", "9.56"), Decimal(actual))
    told = "Estimated $3.90–$5.20, at most $9.56 · actual"
    assert bar.words == f"{told} ${actual} · {verdict}"
    assert bar.is_above == (verdict == "above")


def test_a_band_whose_ends_are_shown_alike_is_one_amount():
    assert span("3.90", "5.20", "9").band(" to ") == "$3.90 to $5.20"
    assert span("0.0301", "0.0302", "9").band(" to ") == "$0.03"


def test_the_bar_is_as_long_as_the_larger_of_limit_and_cost():
    assert Bar(span(1, 2, 4), Decimal(3)).places == {
        "low": "24.88%",
        "likely": "24.88%",
        "most": "99.50%",
        "actual": "74.62%",
    }
    assert Bar(span(1, 2, 4), Decimal(8)).places["most"] == "49.75%"


def estimate_bar(batch):
    page = Template('{% include "batches/estimate.html" %}')
    return page.render(Context({"bar": Bar.of(batch)}))


def frozen(**more):
    values = {"low": "3.90", "high": "5.20", "most": "9.56", "requests": 2, "output_tokens": 192}
    return values | more


@pytest.fixture
def batch(db):
    return make_batch(None)


def test_the_bar_of_a_batch(batch):
    assert estimate_bar(batch).strip() == ""
    run = make_run(batch, estimate=frozen())
    assert "Estimated $3.90–$5.20, at most $9.56<" in estimate_bar(batch)
    make_run(batch, estimate=frozen(low="0.10", high="0.20", most="0.44"))
    assert "Estimated $4.00–$5.40, at most $10.00<" in estimate_bar(batch)
    make_part(run, [2, 3], api="sandbox")
    batch.cost = Decimal("4.44")
    page = estimate_bar(batch)
    assert "actual $0.00 (with a real key about $4.44) · inside" in page
    assert 'role="img" aria-label="Estimated' in page


def test_one_run_without_an_estimate_leaves_the_sum_open(batch):
    make_run(batch, estimate=frozen())
    make_run(batch, estimate=None)
    assert estimate_bar(batch).strip() == ""
    batch.cost = Decimal("4.44")
    assert "<figcaption>Actual $4.44</figcaption>" in estimate_bar(batch)


def test_above_the_estimate_it_says_why(batch):
    make_run(batch, estimate=frozen())
    batch.cost, batch.succeeded, batch.tokens = Decimal(7), 2, {"output_tokens": 280}
    page = estimate_bar(batch)
    assert "above: answers of 140 tokens on average, against 96" in page
    assert 'class="above"' in page


def test_a_cost_that_nobody_knows_is_said_to_be_unknown(batch):
    make_run(batch, estimate=frozen())
    batch.state = Batch.State.ENDED
    assert "actual unknown: a price is not known here" in estimate_bar(batch)


def test_money_on_pages():
    page = Template("{% load costs %}{{ a|dollars }} {{ b|dollars }} {{ a|at_most }}")
    assert page.render(Context({"a": Decimal("0.00089"), "b": None})) == "$0.00089 – $0.00089"


def test_live_the_same_tokens_cost_twice_as_much():
    usage = Usage(412, 300, web_search_requests=1)
    live, batch = cost("claude-haiku-4-5", usage, LIVE_SHARE), cost("claude-haiku-4-5", usage)
    assert live is not None
    assert batch is not None
    search = Decimal("0.01")
    assert live - search == 2 * (batch - search) == Decimal("0.001912")
    assert prices_of("no-such-model", LIVE_SHARE) is None
