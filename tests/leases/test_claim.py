import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from batches.models import Upload
from leases.models import CRASH_LIMIT, LEASE
from tests.leases.claim_all import claim_all
from tests.leases.conftest import NOON
from tests.processes import ROOT

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.both_databases]
SECOND = timedelta(seconds=1)


def test_it_works(make_row):
    row = make_row()
    claimed = Upload.objects.claim("ann", NOON)
    assert claimed == row
    assert (claimed.owner, claimed.fence, claimed.crashes) == ("ann", 1, 0)
    assert claimed.lease_until == NOON + LEASE


def test_what_is_claimed_is_not_claimed_again(make_row):
    make_row()
    assert Upload.objects.claim("ann", NOON)
    assert Upload.objects.claim("bob", NOON + LEASE - SECOND) is None


def test_the_row_that_waits_longest_comes_first(make_row):
    later, first = make_row(NOON), make_row(NOON - SECOND)
    assert Upload.objects.claim("ann", NOON) == first
    assert Upload.objects.claim("ann", NOON) == later


@pytest.mark.parametrize("due_at", [None, NOON + SECOND])
def test_what_is_not_due_is_left_alone(make_row, due_at):
    make_row(due_at)
    assert Upload.objects.claim("ann", NOON) is None


def test_a_lease_that_ran_out_is_taken_over_and_counted_as_a_crash(make_row):
    make_row()
    first = Upload.objects.claim("ann", NOON)
    second = Upload.objects.claim("bob", NOON + LEASE)
    assert (second.pk, second.owner, second.crashes) == (first.pk, "bob", 1)
    assert second.fence == first.fence + 1


def test_a_row_that_crashed_too_many_workers_is_set_aside(make_row):
    row = make_row()
    for number in range(CRASH_LIMIT):
        assert Upload.objects.claim("ann", NOON + number * LEASE) == row
    third = Upload.objects.get()
    assert Upload.objects.claim("bob", NOON + CRASH_LIMIT * LEASE) is None
    assert list(Upload.objects.set_aside()) == [row]
    aside = Upload.objects.get()
    assert (aside.owner, aside.lease_until, aside.crashes) == ("", None, CRASH_LIMIT)
    assert Upload.objects.claim("bob", NOON + 10 * LEASE) is None
    assert not third.release(NOON), "a third worker that was only slow may not write any more"


def test_a_row_that_is_set_aside_does_not_keep_the_next_from_being_claimed(make_row):
    make_row(NOON - SECOND, crashes=CRASH_LIMIT - 1, lease_until=NOON - SECOND)
    other = make_row()
    assert Upload.objects.claim("ann", NOON) == other


def test_a_third_worker_that_still_renews_is_left_at_work(make_row):
    row = make_row(crashes=CRASH_LIMIT - 1, lease_until=NOON - SECOND)
    due = Upload.objects.due(NOON).filter(pk=row.pk, fence=row.fence)
    Upload.objects.update(lease_until=NOON + LEASE)
    row.put_aside(due, NOON)
    assert Upload.objects.get().crashes == CRASH_LIMIT - 1


def test_a_person_starts_again_what_was_set_aside(make_row):
    row, running = make_row(None, crashes=CRASH_LIMIT), make_row(crashes=1)
    assert row.start_again(NOON)
    assert Upload.objects.claim("ann", NOON) in (row, running)
    assert not row.start_again(NOON)
    assert not running.start_again(NOON)


def test_a_claim_within_a_narrowed_queryset(make_row):
    make_row()
    wanted = make_row(NOON + SECOND)
    narrowed = Upload.objects.filter(pk=wanted.pk)
    assert narrowed.claim("ann", NOON + SECOND) == wanted
    assert narrowed.claim("ann", NOON + SECOND) is None


@pytest.mark.django_isolate_apps("batches")
def test_a_claimer_that_pauses_until_it_is_overtaken_gets_nothing(make_row):
    class PausingUpload(Upload):
        class Meta:
            proxy = True
            app_label = "batches"

        def refresh_from_db(self, *args, **kwargs):
            Upload.objects.filter(pk=self.pk).update(owner="bob", fence=F("fence") + 1)
            super().refresh_from_db(*args, **kwargs)

    make_row()
    assert PausingUpload.objects.claim("ann", NOON) is None
    assert Upload.objects.get().owner == "bob"


def test_threads_that_race_claim_each_row_once(make_row):
    rows = [make_row().pk for _ in range(200)]
    claimed, ready = [], threading.Barrier(4)

    def race(name):
        ready.wait()
        claimed.extend(claim_all(name, NOON))
        connection.close()

    threads = [threading.Thread(target=race, args=(f"thread {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == sorted(rows)
    assert set(Upload.objects.values_list("fence", flat=True)) == {1}


def test_processes_that_race_claim_each_row_once(make_row):
    rows = [make_row().pk for _ in range(200)]
    command = [sys.executable, "-m", "tests.leases.claim_all", NOON.isoformat()]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    outputs = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(line) for output in outputs for line in output.split()) == sorted(rows)
