from decimal import Decimal

import pytest

from batches.costing import at_most
from batches.findings import Findings, Group
from batches.forecasting import Trial, fit, forecast, trial_of
from batches.models import Batch
from tests.batches.build import make_batch, make_run, make_upload, table_rows

RECIPE = {"model": "claude-haiku-4-5", "prompt": "Label {{text}}"}


def reviews(**fields):
    """9,997 requests of 1,648 bytes and 412 tokens, to be answered in 300 tokens at most."""
    values = {
        "model": "claude-haiku-4-5",
        "rows": 9_997,
        "bytes": 9_997 * 1_648,
        "largest": 1_648,
        "output": 9_997 * 300,
        "most_output": 300,
        "counted": [(1_648, 412)],
    }
    group = Group(**values | fields)
    return Findings(rows=group.rows, groups=[group])


def test_it_works():
    found = forecast(reviews(), 9_997)
    assert found.input_tokens == 9_997 * 412
    assert found.output_most == 9_997 * 300
    # 9,997 × 412 × $0.50/M = $2.059382, and × 300 × $2.50/M = $7.49775
    assert found.span.most == Decimal("9.557132")
    assert at_most(found.span.most) == "$9.56"
    assert found.working == [
        "9,997 × up to 412 in × $0.50/M = $2.06",
        "9,997 × up to 300 out × $2.50/M = $7.50",
    ]
    # Without answers to go by: a fiftieth to a half of max_tokens.
    assert found.span.low == Decimal("2.059382") + Decimal("0.149955")
    assert found.span.high == Decimal("2.059382") + Decimal("3.748875")


def test_a_trial_tells_how_long_answers_are():
    found = forecast(reviews(), 9_997, Trial(7, 20, 96.0))
    # 96 tokens on average, give or take 15 %: 81.6 to 110.4
    assert float(found.span.low) == pytest.approx(2.059382 + 9_997 * 81.6 * 2.5e-6)
    assert float(found.span.high) == pytest.approx(2.059382 + 9_997 * 110.4 * 2.5e-6)
    assert found.output_tokens == 9_997 * 96


def test_answers_are_never_longer_than_max_tokens():
    span = forecast(reviews(), 9_997, Trial(7, 20, 290.0)).span
    assert span.high == span.most


def test_some_of_the_rows():
    found = forecast(reviews(), 10)
    # 10 × (412 × $0.50 + 300 × $2.50) / M
    assert found.span.most == Decimal("0.00956")
    assert found.input_tokens == pytest.approx(4_120)
    assert found.output_most == 3_000


def test_some_rows_may_be_the_longest_ones():
    found = forecast(reviews(largest=16_480), 10)
    assert found.span.most == Decimal("0.0281")  # 10 × (4,120 × $0.50 + 300 × $2.50) / M
    assert found.working[0] == "10 × up to 4,120 in × $0.50/M = $0.02"
    assert found.span.high < found.span.most


@pytest.mark.parametrize(
    ("counted", "line"),
    [
        ([(100, 30)], (0, 0.3, 1)),
        ([(100, 30), (100, 50)], (0, 0.4, 1.25)),
        ([(100, 60), (200, 70)], (50, 0.1, 1)),
        # Fewer tokens in more bytes say nothing about length.
        ([(100, 60), (200, 30)], (0, 0.3, 2)),
    ],
)
def test_tokens_by_length(counted, line):
    assert fit(counted) == pytest.approx(line)


def test_what_tokens_may_be_above_the_line_is_in_the_limit():
    found = forecast(reviews(counted=[(1_648, 400), (1_648, 424)]), 9_997)
    assert found.input_tokens == pytest.approx(9_997 * 412)
    assert found.working[0].startswith("9,997 × up to 424 in")


def test_a_cache_is_written_at_most_and_read_at_best():
    whole = reviews(cached_bytes=9_997 * 1_648)
    span = forecast(whole, 9_997).span
    # $1.00/M written for an hour, $0.05/M read.
    assert span.most == Decimal("4.118764") + Decimal("7.49775")
    assert span.low == Decimal("0.2059382") + Decimal("0.149955")


def test_answers_from_the_us_alone_cost_a_tenth_more():
    assert forecast(reviews(us=True), 9_997).span.most == Decimal("10.5128452")


def test_two_models():
    other = Group("claude-opus-5", rows=3, bytes=300, largest=100, output=300, most_output=100)
    other.counted = [(100, 50)]
    found = reviews()
    found.groups.append(other)
    found.rows += 3
    both = forecast(found, 10_000)
    # 150 in at $2.50/M and 300 out at $12.50/M
    assert both.span.most == Decimal("9.557132") + Decimal("0.004125")
    assert both.working[2] == "claude-opus-5: 3 × up to 50 in × $2.50/M = $0.00038"
    # One of the three is the dearest: 50 × $2.50/M + 100 × $12.50/M
    assert forecast(found, 2).span.most == Decimal("0.00275")


def test_a_price_that_is_not_known():
    found = forecast(reviews(model="claude-x"), 9_997)
    assert found.span is None
    assert found.unpriced == ["claude-x"]
    assert (found.input_tokens, found.output_most) == (9_997 * 412, 9_997 * 300)
    assert found.freeze()["most"] is None


def test_tokens_that_nobody_counted():
    found = forecast(reviews(counted=[]), 9_997)
    assert (found.span, found.input_tokens, found.output_most) == (None, None, 9_997 * 300)


def test_it_is_frozen_as_json():
    frozen = forecast(reviews(), 9_997).freeze()
    assert (frozen["requests"], frozen["most"]) == (9_997, "9.55713200")


def test_a_trial_of_the_same_recipe(db):
    batch = make_batch(make_upload(["text"], table_rows(["a"])), recipe=RECIPE)
    assert trial_of(batch) is None
    answered = {"state": "ended", "succeeded": 20, "tokens": {"output_tokens": 1_920}}
    other = make_batch(batch.upload, recipe=RECIPE, **answered)
    make_run(other, recipe=RECIPE | {"max_tokens": 9})
    assert trial_of(batch) is None
    other.runs.update(recipe=RECIPE)
    assert trial_of(batch) == Trial(other.pk, 20, 96.0)
    make_run(batch, recipe=RECIPE)
    Batch.objects.filter(pk=batch.pk).update(succeeded=2, tokens={"output_tokens": 10})
    assert trial_of(Batch.objects.get(pk=batch.pk)) == Trial(batch.pk, 2, 5.0)
