from datetime import timedelta

import pytest

from batches.models import Upload
from leases.models import LEASE
from tests.leases.conftest import NOON

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
MINUTE = timedelta(minutes=1)


@pytest.fixture
def claimed(make_row):
    make_row()
    return Upload.objects.claim("ann", NOON)


@pytest.fixture
def overtaken(claimed):
    """A lease whose holder slept until another worker had claimed the row."""
    assert Upload.objects.claim("bob", NOON + LEASE)
    return claimed


def test_it_works(claimed):
    assert claimed.release(NOON + MINUTE, state="ready")
    row = Upload.objects.get()
    assert (row.owner, row.lease_until, row.due_at) == ("", None, NOON + MINUTE)
    assert row.state == "ready"
    assert Upload.objects.claim("bob", NOON) is None
    assert Upload.objects.claim("bob", NOON + MINUTE)


def test_a_released_row_may_never_be_due_again(claimed):
    assert claimed.release(None)
    assert Upload.objects.claim("bob", NOON + MINUTE) is None


def test_a_release_forgets_the_crashes_before_it(overtaken):
    row = Upload.objects.get()
    assert row.crashes == 1
    assert row.release(NOON)
    assert Upload.objects.get().crashes == 0


def test_who_was_overtaken_can_release_nothing(overtaken):
    assert not overtaken.release(None, state="ready")
    row = Upload.objects.get()
    assert (row.owner, row.state, row.due_at) == ("bob", "receiving", NOON)


def test_who_was_overtaken_can_renew_nothing(overtaken):
    assert not overtaken.renew(NOON + MINUTE)
    assert Upload.objects.get().lease_until == NOON + 2 * LEASE


def test_who_was_overtaken_owns_no_row_to_write_to(overtaken):
    assert not overtaken.mine().exists()
    assert Upload.objects.get().mine().exists()


def test_a_renewed_lease_lasts_longer(claimed):
    assert claimed.renew(NOON + LEASE / 2)
    assert Upload.objects.claim("bob", NOON + LEASE) is None
    assert Upload.objects.claim("bob", NOON + LEASE * 1.5)


def test_a_lease_that_was_given_back_is_not_renewed(claimed):
    assert claimed.release(NOON)
    assert not claimed.renew(NOON)
    assert Upload.objects.get().lease_until is None
