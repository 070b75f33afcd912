"""The client that everybody writes first: it retries, and saves the id after the POST.

It is killed and lied to as ours is; that it fails shows that what ours survives is dangerous.
"""

import json
import os
import random
import secrets
import signal
import sys
import urllib.error
import urllib.request
from collections import Counter
from pathlib import Path

from tests.batches.stage import PARAMS, SandboxScope
from tests.torture.points import Point
from tests.torture.points import watch as watch_for
from tests.torture.scenes import LOST_ANSWERS
from tests.torture.worker import fork

TRIES = 3
POINTS = (
    Point("before the POST", "call", f"{__name__}:post"),
    Point("body sent", "call", "http.client:HTTPConnection.getresponse"),
    Point("before the save", "call", f"{__name__}:save"),
)


def submit(url: str, key: str, jobs: list[str], saved: Path) -> None:
    """Send every job whose id is not saved."""
    done = read(saved)
    for job in jobs:
        if job not in done:
            save(saved, job, create(url, key, job))


def create(url: str, key: str, job: str) -> str:
    for _ in range(TRIES):
        try:
            return post(url, key, job)
        except (OSError, ValueError):
            continue
    raise SystemExit(f"{job} failed {TRIES} times")


def post(url: str, key: str, job: str) -> str:
    requests = [
        {"custom_id": f"{job}-{row}", "params": json.loads(PARAMS % b"x")} for row in (1, 2)
    ]
    headers = {"x-api-key": key, "anthropic-version": "2026-10-21"}
    headers["content-type"] = "application/json"
    body = json.dumps({"requests": requests}).encode()
    request = urllib.request.Request(f"{url}/v1/messages/batches", body, headers)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return str(json.load(reply)["id"])


def save(saved: Path, job: str, id: str) -> None:
    with saved.open("a") as file:
        file.write(f"{job} {id}\n")


def read(saved: Path) -> dict[str, str]:
    lines = saved.read_text().splitlines() if saved.exists() else []
    return dict(line.split() for line in lines)


def run(url: str, directory: Path, seed: int, jobs: int) -> list[str]:
    """Each job meets one mishap, a death or a lie, and then a quiet time; what came of it."""
    draw = random.Random(seed)
    scope = SandboxScope(url, f"sk-ant-naive{secrets.token_hex(8)}-key")
    saved, log = directory / "saved", directory / "log"
    names = [f"job{number}" for number in range(jobs)]
    for number in range(jobs):
        todo = names[: number + 1]
        if draw.random() < 0.5:
            scope.call("/_sandbox/faults", {"on": "create", **draw.choice(LOST_ANSWERS)})
            let_work(scope, todo, saved, log)
            scope.call("/_sandbox/faults", method="DELETE")
        else:
            let_work(scope, todo, saved, log, draw.choice(POINTS))
        let_work(scope, todo, saved, log)
    return judge(scope, read(saved))


def let_work(
    scope: SandboxScope, jobs: list[str], saved: Path, log: Path, point: Point | None = None
) -> None:
    def work() -> None:
        if point is not None:
            watch_for(point, 1, sys.stderr.fileno(), signal.SIGKILL)
        submit(scope.url, scope.secret, jobs, saved)

    os.waitpid(fork(work, log), 0)


def judge(scope: SandboxScope, saved: dict[str, str]) -> list[str]:
    creates = scope.ledger()["creates"]
    times = Counter(create["custom_ids"][0].partition("-")[0] for create in creates)
    lost = {create["id"] for create in creates} - set(saved.values())
    lost_jobs = {
        create["custom_ids"][0].partition("-")[0] for create in creates if create["id"] in lost
    }
    double = {job for job, number in times.items() if number > 1}
    return [
        *(f"double: {job} was created {times[job]} times" for job in sorted(double)),
        *(f"lost: the id of {job} is not known" for job in sorted(lost_jobs - double)),
    ]
