"""The Batch or Upload that a URL names, for those who may see it; 404 for everybody else."""

from django.http import HttpRequest
from django.shortcuts import get_object_or_404

from batches.models import Batch, Upload
from workspaces.access import require
from workspaces.models import Membership

VIEWER, MEMBER = Membership.Role.VIEWER, Membership.Role.MEMBER


def find_batch(request: HttpRequest, slug: str, batch: int, role: str = VIEWER) -> Batch:
    """Http404 for strangers and for what is not of this workspace; PermissionDenied below `role`.

    The Batch carries its workspace and its upload.
    """
    workspace = require(request, slug, role)
    batches = Batch.objects.filter(workspace=workspace, deleting_at=None)
    return get_object_or_404(batches.select_related("workspace", "upload", "created_by"), pk=batch)


def find_upload(request: HttpRequest, slug: str, upload: int, role: str = MEMBER) -> Upload:
    workspace = require(request, slug, role)
    return get_object_or_404(Upload.objects.filter(workspace=workspace), pk=upload)
