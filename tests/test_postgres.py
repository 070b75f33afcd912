import psycopg
import pytest

from tests import postgres
from tests.processes import NEEDS


def test_a_cluster_lives_as_long_as_it_is_used():
    binaries = postgres.programs()
    if binaries is None:
        pytest.skip(NEEDS.format("postgresql"))
    with postgres.cluster(binaries) as url:
        socket = url.removeprefix("postgres://postgres@/").removesuffix("/sluice")
        with psycopg.connect(host=socket, user="postgres", dbname="postgres") as connection:
            assert connection.execute("SHOW fsync").fetchone() == ("off",)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(host=socket, user="postgres", dbname="postgres")
