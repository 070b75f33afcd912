from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from workspaces.access import may, owner_names, refusal, require, workspace_for
from workspaces.forms import RoleForm
from workspaces.models import Membership
from workspaces.people import LastOwner, remove, set_role
from workspaces.views.dialog import leave_dialog, render_dialog

OWNER = Membership.Role.OWNER
ROLES = (
    (Membership.Role.OWNER, "runs batches, and keeps the key and the people"),
    (Membership.Role.MEMBER, "runs batches and changes them"),
    (Membership.Role.VIEWER, "reads and downloads"),
)
ORDER = [role for role, _ in ROLES]


@require_safe
def members(request: HttpRequest, slug: str) -> HttpResponse:
    workspace = workspace_for(request, slug)
    found = list(workspace.memberships.select_related("user").order_by("user__username"))
    found.sort(key=lambda member: ORDER.index(Membership.Role(member.role)))
    context = {
        "workspace": workspace,
        "members": found,
        "roles": ROLES,
        "owners": owner_names(workspace),
    }
    return render(request, "workspaces/members.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def member(request: HttpRequest, slug: str, member: int) -> HttpResponse:
    """What one person may do."""
    workspace = require(request, slug, OWNER)
    found = get_object_or_404(workspace.memberships.select_related("user"), pk=member)
    form = RoleForm(
        request.POST if request.method == "POST" else None, initial={"role": found.role}
    )
    if form.is_valid():
        try:
            set_role(workspace, found.user, form.cleaned_data["role"], actor=request.user)  # type: ignore[arg-type]
            return leave_dialog(request, reverse("workspaces:members", kwargs={"slug": slug}))
        except LastOwner as error:
            form.add_error("role", str(error))
    context = {"workspace": workspace, "member": found, "form": form, "roles": ROLES}
    status = 422 if form.is_bound else 200
    return render_dialog(request, "workspaces/member.html", context, status)


@require_http_methods(["GET", "HEAD", "POST"])
def member_remove(request: HttpRequest, slug: str, member: int) -> HttpResponse:
    """Owners remove anybody; everybody may leave."""
    workspace = workspace_for(request, slug)
    found = get_object_or_404(workspace.memberships.select_related("user", "workspace"), pk=member)
    own = found.user_id == request.user.pk
    if not own and not may(request.membership, OWNER):  # type: ignore[attr-defined]
        raise PermissionDenied(refusal(workspace, OWNER))
    context = {"workspace": workspace, "member": found, "own": own, "error": ""}
    if request.method == "POST":
        try:
            remove(found, actor=request.user)  # type: ignore[arg-type]
        except LastOwner as error:
            context["error"] = str(error)
            return render_dialog(request, "workspaces/member_remove.html", context, 422)
        if own:
            messages.success(request, f"You left {workspace.name}.")
            return leave_dialog(request, reverse("workspaces:index"))
        return leave_dialog(request, reverse("workspaces:members", kwargs={"slug": slug}))
    return render_dialog(request, "workspaces/member_remove.html", context)
