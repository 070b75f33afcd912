import threading
import time
from datetime import timedelta

import pytest

from batches.models import Upload
from leases.clock import database_now
from leases.models import LEASE, Lease
from leases.renewing import LeaseLost, renewing
from tests.leases.conftest import NOON

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]


@pytest.fixture
def claimed(make_row) -> Lease:
    make_row()
    return Upload.objects.claim("ann", NOON)


def wait_until(is_true, seconds=5):
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_works(claimed):
    with renewing(claimed) as renewal:
        renewal.check()
        assert Upload.objects.get().lease_until > database_now() + LEASE / 2
    assert not [t for t in threading.enumerate() if t.name.startswith("renew ")]


def test_the_thread_ends_when_the_step_fails(claimed):
    with pytest.raises(KeyError), renewing(claimed):
        raise KeyError
    assert not [t for t in threading.enumerate() if t.name.startswith("renew ")]


def test_a_step_that_was_overtaken_is_told(claimed):
    with renewing(claimed) as renewal:
        assert Upload.objects.claim("bob", database_now())
        with pytest.raises(LeaseLost, match="another worker"):
            renewal.check()
    assert renewal.lost.is_set()


def test_the_thread_renews_while_the_step_blocks(claimed):
    with renewing(claimed, every=0.02):
        wait_until(lambda: Upload.objects.get().lease_until > NOON + LEASE)


def test_the_thread_notices_that_the_row_was_claimed(claimed):
    with renewing(claimed, every=0.02) as renewal:
        Upload.objects.update(fence=claimed.fence + 1)
        wait_until(renewal.lost.is_set)


def test_a_row_released_inside_the_step_stays_released(claimed):
    with renewing(claimed, every=0.02) as renewal:
        assert claimed.release(None)
        wait_until(renewal.lost.is_set)
    assert Upload.objects.get().lease_until is None


def test_the_clock_is_the_databases(db):
    before = database_now()
    assert before.utcoffset() == timedelta(0)
    assert before <= database_now()
