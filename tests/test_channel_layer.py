import os
import re
import subprocess
import sys

from tests.processes import ROOT, running, wait_for_line

BELL = [sys.executable, "-m", "tests.bell"]


def test_redis_carries_a_message_from_process_to_process(redis_url, tmp_path):
    log, environment = tmp_path / "log", {**os.environ, "REDIS_URL": redis_url}
    with running(*BELL, "listen", log=log, environment=environment) as listener:
        wait_for_line(listener, log, re.compile("listening"))
        subprocess.run([*BELL, "ring", "Größe 大"], cwd=ROOT, env=environment, check=True)
        wait_for_line(listener, log, re.compile("heard Größe 大"))
        assert listener.wait(10) == 0
