from datetime import datetime, timedelta
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe
from django_htmx.http import HttpResponseClientRedirect

from batches.choosing import ReviewForm, name_of, selection_of
from batches.models import Batch, Run, Upload
from batches.newly_left_out import say_newly_left_out
from batches.reviewing import Review, token_of
from batches.starting import one_at_a_time
from batches.templatetags.batch_rows import may_open
from batches.views.finding import MEMBER, VIEWER, find_batch
from batches.views.recipe import who_can
from leases.clock import database_now
from leases.models import CRASH_LIMIT
from workspaces.live import Region

AT_LATEST = timedelta(hours=24)
CHECKING, COUNTING = 1, 10


@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """The last page before money is spent, and the only one that spends it."""
    found = find_batch(request, slug, batch, MEMBER if request.method == "POST" else VIEWER)
    if place := elsewhere(found):
        return lead(request, reverse(f"batches:{place}", args=[slug, batch]))
    if request.method == "POST":
        return send(request, found) if "send" in request.POST else save(request, found)
    again = "again" in request.GET
    looked_at = Review(found, selection_of(found), database_now(), again=again)
    return show(request, looked_at, ReviewForm(found, looked_at.free))


@require_safe
def review_live(request: HttpRequest, slug: str, batch: int) -> HttpResponse:
    """The figures alone, as long as a worker is still at them."""
    found = find_batch(request, slug, batch)
    if elsewhere(found):
        return HttpResponse(status=204)
    again = "again" in request.GET
    looked_at = Review(found, selection_of(found), database_now(), again=again)
    answer = region(request, looked_at).answer()
    if answer.status_code == 200:
        answer.write(render_to_string("batches/review_free.html", {"free": looked_at.free}))
    return answer


def lead(request: HttpRequest, url: str) -> HttpResponse:
    """To another page; htmx, left to itself, would put all of that into this one."""
    if request.htmx:  # type: ignore[attr-defined]
        return HttpResponseClientRedirect(url)
    return redirect(url)


def elsewhere(batch: Batch) -> str:
    """The page to go to where nothing is to be reviewed; empty where something is."""
    if batch.runs.filter(state__in=[Run.State.QUEUED, Run.State.AWAITING]).exists():
        return "overview"
    if batch.parts and batch.rows - batch.left_out - batch.sent <= 0:
        return "overview"
    upload = batch.upload
    if upload is None or upload.state != Upload.State.READY:
        return "overview" if batch.parts else "file"
    return "" if may_open(batch, "review") else "recipe"


def save(request: HttpRequest, batch: Batch) -> HttpResponse:
    """Keep what was changed and show what it comes to."""
    form = keep(request, batch)
    looked_at = read(request, batch)
    if not request.htmx:  # type: ignore[attr-defined]
        if form.is_valid():
            where = reverse("batches:review", args=[batch.workspace.slug, batch.pk])
            return redirect(f"{where}?again=1" if looked_at.again else where)
        return show(request, looked_at, form, status=422)
    context = {"batch": batch, "form": form, "review": looked_at, "free": looked_at.free}
    context |= {"beside": True, "typed_in": request.POST.get("typed_in")}
    beside = render_to_string("batches/review_beside.html", context, request)
    # Half-typed is not refused: what cannot be read is said beside it, and not saved.
    return HttpResponse(f"{region(request, looked_at, form)}{beside}")


def send(request: HttpRequest, batch: Batch) -> HttpResponse:
    """One press: everything is looked at once more, and one Run is queued for it."""
    form = keep(request, batch)
    if not form.is_valid():
        return show(request, read(request, batch), form, status=422)
    with one_at_a_time(batch.workspace):
        # Nor may its file or its recipe change any more while it is looked at.
        Batch.objects.select_for_update().filter(pk=batch.pk).first()
        found = find_batch(request, batch.workspace.slug, batch.pk, MEMBER)
        token = request.POST.get("token", "")
        # Whoever pressed first has pressed for everybody who saw the same page.
        pressed = token != token_of(found)
        if pressed and found.runs.exists():
            return redirect("batches:overview", slug=found.workspace.slug, batch=found.pk)
        looked_at = read(request, found)
        for sentence in objections(request, looked_at, too_old=pressed):
            form.add_error(None, sentence)
        if form.is_valid():
            looked_at.send(token, request.user)  # type: ignore[arg-type]
            return redirect("batches:overview", slug=found.workspace.slug, batch=found.pk)
    return show(request, looked_at, form, status=422)


def objections(request: HttpRequest, looked_at: Review, *, too_old: bool) -> list[str]:
    found = [obstacle.sentence for obstacle in looked_at.obstacles]
    if too_old:
        found.append("This page is too old. Look at it again, and send then.")
    elif not found and request.POST.get("seen") != looked_at.estimate.digest:
        found.append("The file, the recipe or the key was changed. Look again, and send then.")
    elif not found and request.POST["send"] != str(looked_at.chosen):
        found.append(f"It is {looked_at.chosen:,} requests by now. Look again, and send then.")
    return found


def keep(request: HttpRequest, batch: Batch) -> ReviewForm:
    """Save what was typed, where all of it can be read."""
    free = Review(batch, selection_of(batch), database_now()).free
    form = ReviewForm(batch, free, request.POST)
    if form.is_valid():
        changes = form.changes() | {"saved_at": database_now()}
        Batch.objects.filter(pk=batch.pk).update(**changes)
        for name, value in changes.items():
            setattr(batch, name, value)
    return form


def read(request: HttpRequest, batch: Batch) -> Review:
    return Review(batch, selection_of(batch), database_now(), again="again" in request.POST)


def show(
    request: HttpRequest, looked_at: Review, form: ReviewForm, status: int = 200
) -> HttpResponse:
    batch = looked_at.batch
    # The head shows the name that is filled in, which is saved with the first change.
    batch.name = name_of(batch)
    context = {
        "workspace": batch.workspace,
        "batch": batch,
        "form": form,
        "review": looked_at,
        "free": looked_at.free,
        "region": region(request, looked_at, form),
        "token": token_of(batch),
        "who_can": who_can(batch.workspace),
    }
    return render(request, "batches/review.html", context, status=status)


def region(request: HttpRequest, looked_at: Review, form: ReviewForm | None = None) -> Region:
    batch = looked_at.batch
    context: dict[str, Any] = {
        "workspace": batch.workspace,
        "batch": batch,
        "review": looked_at,
        "unread": form is not None and form.is_bound and bool(form.errors),
        "at_latest": latest(looked_at.at),
        "who_can": who_can(batch.workspace),
    }
    if looked_at.findings is not None:
        context["newly_left_out"] = say_newly_left_out(batch, looked_at.findings)
    kept = {"again": "1"} if looked_at.again else {}
    where = {"slug": batch.workspace.slug, "batch": batch.pk}
    return Region(
        request,
        "figures",
        "batches/review_figures.html",
        context,
        url=reverse("batches:review_live", kwargs=where),
        seconds=seconds(looked_at),
        **kept,
    )


def seconds(looked_at: Review) -> int | None:
    """None where only a person can change what is shown."""
    estimate = looked_at.estimate
    if looked_at.is_checking and estimate.crashes < CRASH_LIMIT:
        return CHECKING
    return COUNTING if estimate.due_at else None


def latest(at: datetime) -> datetime:
    """When the API gives up, by the next five minutes: not another time at every look."""
    then = at + AT_LATEST
    return then + timedelta(minutes=5 - then.minute % 5, seconds=-then.second)
