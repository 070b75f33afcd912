"""Drafts in each of their three steps."""

from datetime import timedelta
from typing import Any

from django.utils import timezone
from playwright.sync_api import Page

from batches import estimating
from batches.models import Batch, Estimate, Upload
from leases.clock import database_now
from tests.screenshots.making import (
    CHINESE,
    RECIPE,
    REVIEWS,
    UNBROKEN,
    House,
    as_csv,
    estimate,
    make_draft,
    make_file,
    place,
    table_of,
    worker_stopped,
)
from tests.screenshots.state import State
from workspaces.models import Workspace


def of_files(house: House, team: Workspace, many: int) -> list[State]:
    mei = house.people["mei"]
    cafe = REVIEWS[2][3].encode("cp1252")
    broken = table_of(12)
    broken[4].append("the cable is short")
    broken[7][0] = broken[2][0]
    worse = [[*row, "more"] for row in table_of(130)]
    wide = [f"column {number}" for number in range(1, 31)]
    asked = (
        b'{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}'
    )
    ready = b'{"custom_id":"a-%d","params":' + asked + b"}\n"
    files = {
        "new": "/w/team/batches/new/",
        "new-first": "/w/keyless/batches/new/",
        "file-whole": place(make_file(team, mei, "reviews.csv", as_csv(table_of(200))), "file/"),
        "file-one-row": place(make_file(team, mei, "one.csv", as_csv(table_of(1))), "file/"),
        "file-many-rows": place(
            make_file(team, mei, "reviews-october.csv", as_csv(table_of(many))), "file/"
        ),
        "file-problems": place(make_file(team, mei, "broken.csv", as_csv(broken)), "file/"),
        "file-all-broken": place(make_file(team, mei, "worse.csv", as_csv(worse)), "file/"),
        "file-wide": place(make_file(team, mei, "wide.csv", as_csv([wide, wide], wide)), "file/"),
        "file-excel": place(make_file(team, mei, "book.csv", b"PK\x03\x04" + bytes(64)), "file/"),
        "file-encoding": place(
            make_file(team, mei, "old.csv", b"id,review\n1,%s\n" % cafe), "file/"
        ),
        "file-ready-requests": place(
            make_file(team, mei, "ready.jsonl", b"".join(ready % one for one in range(5))), "file/"
        ),
        "file-long-name": place(
            make_file(team, mei, f"{UNBROKEN[:190]}.csv", as_csv(table_of(3))), "file/"
        ),
        "file-chinese": place(make_file(team, mei, f"{CHINESE}.csv", as_csv(table_of(3))), "file/"),
        "file-stopped": place(
            make_file(team, mei, "big.csv", bytes(4_900), read=False, of=10_000), "file/"
        ),
    }
    reading = make_file(team, mei, "reading.csv", as_csv(table_of(9)), read=False)
    Upload.objects.filter(pk=reading.upload_id).update(due_at=timezone.now() + timedelta(days=9))
    some = {"new", "file-whole", "file-problems", "file-excel", "file-stopped", "file-long-name"}
    return [
        *(State(name, path, main=name in some) for name, path in files.items()),
        State("file-reading", place(reading, "file/"), main=True),
        State("file-viewer", files["file-problems"], who="vera"),
        State("file-row", f"{files['file-problems']}?row=6"),
    ]


def of_recipes(house: House, team: Workspace) -> list[State]:
    empty = place(make_draft(team, table_of(9), "Without a recipe", recipe={}), "recipe/")
    filled = place(make_draft(team, table_of(9), "Review themes"), "recipe/")
    spoiled = place(make_draft(team, table_of(9), "Broken while typing"), "recipe/")
    wrong_one = place(make_draft(team, table_of(9), "Refused", recipe={}), "recipe/")
    wide = [f"column {number}" for number in range(1, 31)]
    many = make_draft(team, [wide, wide], "Many columns", columns=wide, recipe={})
    long = make_draft(team, table_of(9), UNBROKEN[:200])
    chinese = make_draft(team, table_of(9), CHINESE)
    keyless = make_draft(Workspace.objects.get(slug="keyless"), table_of(9), "No models")
    wrong = {**RECIPE, "prompt": "About {{citty}}: {{reveiw}}", "output_format": "{"}

    def break_it(page: Page) -> None:
        page.locator("#id_prompt").fill("About {{citty}}: {{reveiw}}")
        page.locator("#errors-prompt .error").first.wait_for()

    def open_advanced(page: Page) -> None:
        page.locator("#advanced summary").click()

    def refuse(page: Page) -> None:
        page.locator("#id_max_tokens").fill("-5")
        page.locator("#id_prompt").fill(str(wrong["prompt"]))
        page.get_by_role("button", name="Continue to review").click()
        page.locator(".error-summary").wait_for()

    return [
        State("recipe-empty", empty, main=True),
        State("recipe", filled, main=True),
        State("recipe-json", f"{filled}?row=4&show=json", main=True),
        State("recipe-broken", spoiled, do=break_it),
        State("recipe-refused", wrong_one, do=refuse),
        State("recipe-advanced", filled, do=open_advanced),
        State("recipe-many-columns", place(many, "recipe/")),
        State("recipe-long-name", f"{place(long, 'recipe/')}?row=7", main=True),
        State("recipe-chinese", f"{place(chinese, 'recipe/')}?row=2"),
        State("recipe-no-models", place(keyless, "recipe/")),
        State("recipe-viewer", filled, who="vera"),
    ]


def of_reviews(house: House, team: Workspace, many: int) -> list[State]:
    sandbox = house.workspace("sandbox", "Sandbox", api="sandbox")
    keyless = Workspace.objects.get(slug="keyless")

    def draft(workspace: Workspace, name: str, rows: int = 200, **recipe: Any) -> Batch:
        return make_draft(workspace, table_of(rows), name, recipe={**RECIPE, **recipe})

    ready = place(estimate(draft(team, "reviews-october, haiku-4-5", many)), "review/")
    spoiled = place(estimate(draft(team, "Wrong numbers")), "review/")
    waiting = draft(team, "Not checked yet")
    estimating.ask(waiting, database_now())
    Estimate.objects.filter(batch=waiting).update(due_at=timezone.now() + timedelta(days=9))

    def spoil(page: Page) -> None:
        page.locator("#id_name").fill("")
        page.locator("#rows-first").check()
        page.locator("#id_first").fill("0")
        page.wait_for_timeout(900)

    return [
        State("review", ready, main=True),
        State("review-checking", place(waiting, "review/"), main=True),
        State("review-one-row", place(estimate(draft(team, "One row", 1)), "review/")),
        State(
            "review-no-price", place(estimate(draft(team, "No price", model="claude-x")), "review/")
        ),
        State("review-no-key", place(estimate(draft(keyless, "No key")), "review/"), main=True),
        State("review-sandbox", place(estimate(draft(sandbox, "In the sandbox")), "review/")),
        State(
            "review-long-name", place(estimate(draft(team, UNBROKEN[:200])), "review/"), main=True
        ),
        State("review-wrong", spoiled, do=spoil),
        State("review-worker-stopped", ready, during=worker_stopped),
        State("review-viewer", ready, who="vera", main=True),
    ]
