"""Measurements of what Sluice claims, side by side in one run: `make bench`.

Each row of benchmarks/report.json has a goal and says whether it is met. Ratios are of medians
over alternating runs; machines differ, ratios much less.
"""

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNS = int(os.environ.get("RUNS", "5"))
EVENTS = 20_000
WINDOW_MS = 30
TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = re.compile(r"(?:http://|TCP address )([\d.]+:\d+)")


@contextmanager
def serving(*command: str) -> Iterator[tuple[str, int]]:
    """A server of ours in a process of its own: its address and its pid."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=HERE.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := LISTENING.search(line):
                yield f"http://{found[1]}", process.pid
                break
    finally:
        process.terminate()
        process.communicate()


def run(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=HERE.parent, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def compare_clients(url: str) -> Iterator[dict[str, Any]]:
    """CPU of one event, ours against the official SDK's."""
    pairs = {
        "create": ("our_events", "sdk_events", 4),
        "stream": ("our_snapshot", "sdk_stream", 12),
    }
    taken: dict[str, list[float]] = {}
    for _ in range(RUNS):
        for ours, theirs, _goal in pairs.values():
            for name in (ours, theirs):
                said = run("benchmarks.sse_client", url, name, str(EVENTS))
                taken.setdefault(name, []).append(float(said))
    for name, (ours, theirs, goal) in pairs.items():
        us, sdk = statistics.median(taken[ours]), statistics.median(taken[theirs])
        yield {
            "name": f"sse-client-{name}",
            "unit": "microseconds of CPU per event",
            "events": EVENTS,
            "ours": round(us, 2),
            "sdk": round(sdk, 2),
            "ratio": round(sdk / us, 2),
            "goal": f"at least {goal}",
            "met": sdk / us >= goal,
        }


def watch(kind: str, upstream: str, streams: int, viewers: int, deltas: int) -> dict[str, Any]:
    with serving("benchmarks.fanout_server", kind, upstream) as (url, pid):
        before = cpu_seconds(pid)
        numbers = map(str, (streams, viewers, deltas, 100))
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.viewers", url, *numbers],
            cwd=HERE.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        before = cpu_seconds(pid)
        found: dict[str, Any] = json.loads(process.communicate()[0])
        found["cpu_us"] = (cpu_seconds(pid) - before) / max(found["delivered"], 1) * 1e6
    return found


def fan_out(upstream: str) -> dict[str, Any]:
    """One stream, 200 viewers, 100 events a second: ours against group_send."""
    runs: dict[str, list[dict[str, Any]]] = {"hub": [], "group": []}
    for _ in range(RUNS):
        for kind, found in runs.items():
            found.append(watch(kind, upstream, 1, 200, 500))
    ours, group = (
        statistics.median(one["cpu_us"] for one in runs[kind]) for kind in ("hub", "group")
    )
    p99 = statistics.median(one["p99_ms"] for one in runs["hub"])
    whole = all(one["delivered"] == one["expected"] for one in runs["hub"])
    return {
        "name": "fanout-200",
        "unit": "microseconds of the server's CPU per delivered event",
        "ours": round(ours, 2),
        "group_send": round(group, 2),
        "ratio": round(group / ours, 2),
        "every_event_delivered": whole,
        "p99_added_ms": round(p99, 1),
        "group_send_p99_added_ms": round(
            statistics.median(one["p99_ms"] for one in runs["group"]), 1
        ),
        "goal": f"at least 4, every event delivered, p99 at most {WINDOW_MS + 15} ms",
        "met": group / ours >= 4 and whole and p99 <= WINDOW_MS + 15,
    }


def many_streams(upstream: str) -> dict[str, Any]:
    """50 answers at once, each with a viewer, each at 100 events a second."""
    found = [watch("hub", upstream, 50, 50, 500) for _ in range(3)]
    whole = all(one["delivered"] == one["expected"] for one in found)
    p99 = statistics.median(one["p99_ms"] for one in found)
    return {
        "name": "streams-50",
        "unit": "events delivered of those sent",
        "delivered": found[0]["delivered"],
        "expected": found[0]["expected"],
        "cpu_us_per_event": round(statistics.median(one["cpu_us"] for one in found), 2),
        "p99_added_ms": round(p99, 1),
        "goal": "full rate: every event delivered, none more than a second late",
        "met": whole and p99 <= 1000,
    }


def main() -> int:
    wanted = sys.argv[1:] or ["clients", "fanout", "streams"]
    rows: list[dict[str, Any]] = []
    with serving("benchmarks.sse_server") as (upstream, _):
        if "clients" in wanted:
            rows += compare_clients(upstream)
        if "fanout" in wanted:
            rows.append(fan_out(upstream))
        if "streams" in wanted:
            rows.append(many_streams(upstream))
    for row in rows:
        print(json.dumps(row))
    (HERE / "report.json").write_text(json.dumps(rows, indent=2) + "\n")
    return 0 if all(row["met"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
