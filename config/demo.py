"""`make demo`: the example through `run_batch`, against a sandbox that lives as long as it does."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "reviews.csv"
OUTPUT = ROOT / "data" / "reviews-answered.csv"
PROMPT = "Classify this review as one of: positive, negative, mixed.\n\n{{review}}"
MODEL = "claude-haiku-4-5"
# run_batch ends with 1 when some rows were left out or failed: the example means to show that.
SHOWN = (0, 1)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="sluice-demo-") as directory, sandbox() as url:
        environment = {
            **os.environ,
            "SLUICE_DATA_DIR": directory,
            "DATABASE_URL": f"sqlite:///{directory}/sluice.sqlite3",
            "CLAUDE_API_URL": url,
            "SANDBOX_URL": url,
            "ANTHROPIC_API_KEY": "sk-ant-demo-local",
        }
        code = manage(environment, "migrate", "--verbosity", "0") or manage(environment, *batch())
    if code in SHOWN:
        print(f"Every answer beside its row: {os.path.relpath(OUTPUT)}")
        return 0
    return code


def batch() -> list[str]:
    OUTPUT.parent.mkdir(mode=0o700, exist_ok=True)
    request = ["--model", MODEL, "--prompt", PROMPT, "--max-tokens", "200"]
    rows = ["--id-column", "id", "--leave-out"]
    return ["run_batch", str(EXAMPLE), *request, *rows, "--output", str(OUTPUT)]


def manage(environment: dict[str, str], *arguments: str) -> int:
    command = [sys.executable, str(ROOT / "manage.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


@contextmanager
def sandbox() -> Iterator[str]:
    command = [sys.executable, "-m", "sandbox", "--port", "0", "--batch-seconds", "5"]
    environment = {**os.environ, "SLUICE_PARENT": str(os.getpid())}
    with subprocess.Popen(
        [*command, "--failure-rate", "0.02"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            ready = process.stdout.readline().strip()
            if not ready:
                raise SystemExit("The sandbox did not start; the reason is above.")
            yield ready.rpartition(" ")[2]
        finally:
            process.terminate()


if __name__ == "__main__":
    sys.exit(main())
