import pytest
from django.db import connection

from batches.models import Request, Result
from batches.models.index import CHUNK, POSITION_BITS
from tests.batches.stage import make_batch, make_part

pytestmark = [pytest.mark.django_db, pytest.mark.both_databases]


@pytest.fixture
def batch(workspace):
    return make_batch(workspace)


def fill(part, count):
    Request.objects.bulk_create(
        Request(Request.key(part.pk, position), part.batch_id, position + 2, "", 0, 0)
        for position in range(part.size, count)
    )


def test_it_works(batch):
    part = make_part(batch)
    first = part.pk << POSITION_BITS
    assert [request.pk for request in Request.objects.in_order(part.pk)] == [
        first + position for position in range(5)
    ]
    assert {request.message_batch_id for request in Request.objects.all()} == {part.pk}
    assert list(part.request_ids()) == [first + position for position in range(5)]


def test_most_requests_of_a_part_fit_between_two_parts():
    assert Request.key(1, 99_999) < Request.key(2, 0)


def test_in_order_reads_pages(batch):
    part = make_part(batch)
    make_part(batch, 6)
    fill(part, CHUNK + 3)
    rows = [request.row for request in Request.objects.in_order(part.pk)]
    assert rows == list(range(2, CHUNK + 5))


def test_in_order_holds_no_cursor_while_others_write(batch):
    part = make_part(batch)
    fill(part, CHUNK + 3)
    for request in Request.objects.in_order(part.pk):
        Result.objects.create(request=request, batch=batch, row=request.row, type="succeeded")
        if request.row > CHUNK:
            break
    assert Result.objects.of(part.pk).count() == CHUNK


def test_delete_part_leaves_the_neighbours(batch):
    before, part, after = (make_part(batch, size) for size in (1, 2, 3))
    fill(part, 2 * CHUNK + 1)
    Request.objects.delete_part(part.pk)
    left = {request.message_batch_id for request in Request.objects.all()}
    assert left == {before.pk, after.pk}
    assert Request.objects.count() == 4


def test_delete_part_that_has_none(batch):
    Result.objects.delete_part(make_part(batch).pk)
    assert Request.objects.count() == 5


def test_page_of_results_by_type_is_read_from_its_index(batch):
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_seqscan = off")
    page = Result.objects.filter(batch=batch, type="errored", retried_in=None, row__gt=9)
    assert "result_batch_type_row" in page.order_by("row").explain()
