from datetime import UTC, datetime, timedelta

from sandbox.lifecycle import Batch, planned_end

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def batch(seconds: float, size: int = 100, **fields: datetime) -> Batch:
    ends_at = NOON + timedelta(seconds=seconds)
    return Batch("msgbatch_01x", 1, "2026-10-21", 0.0, NOON, ends_at, size=size, **fields)


def test_it_works() -> None:
    made = batch(10)
    assert not made.has_ended(NOON + timedelta(seconds=9))
    assert made.has_ended(NOON + timedelta(seconds=10))
    assert made.leftover() is None


def test_batches_end_around_the_wanted_time_and_not_together() -> None:
    ends = [planned_end(f"msgbatch_{number}", NOON, 10) for number in range(50)]
    seconds = [(end - NOON).total_seconds() for end in ends]
    assert all(5 <= each <= 15 for each in seconds)
    assert len(set(seconds)) > 40
    assert planned_end("msgbatch_1", NOON, 10) == ends[1]


def test_no_batch_has_ended_when_it_is_created() -> None:
    assert planned_end("msgbatch_1", NOON, 0) > NOON


def test_a_cancel_keeps_what_was_run_until_then() -> None:
    made = batch(100)
    assert made.cancel(NOON + timedelta(seconds=50))
    assert made.ended_at == NOON + timedelta(seconds=51)
    assert made.leftover() == "canceled"
    assert 30 < sum(made.was_run()) < 70


def test_a_short_batch_cancels_in_a_quarter_of_its_time() -> None:
    made = batch(0.4)
    made.cancel(NOON)
    assert made.ended_at == NOON + timedelta(seconds=0.1)


def test_what_ends_before_the_cancel_takes_effect_is_complete() -> None:
    made = batch(10)
    made.cancel(NOON + timedelta(seconds=9.5))
    assert made.leftover() is None
    assert not made.cancel(NOON + timedelta(seconds=9.6))


def test_24_hours_are_the_end() -> None:
    made = batch(2 * 86_400)
    assert made.ended_at == NOON + timedelta(hours=24)
    assert made.leftover() == "expired"
    assert made.is_available(NOON + timedelta(days=28))
    assert not made.is_available(NOON + timedelta(days=29))
