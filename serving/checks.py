from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

OTHERS = 0o077


@register(Tags.security, deploy=True)
def check_data_directory(**options: Any) -> list[CheckMessage]:
    """Prompts, answers and the secrets of the installation lie in it, in files of many programs."""
    mode = Path(settings.DATA_DIR).stat().st_mode
    if not mode & OTHERS:
        return []
    return [
        Warning(
            f"Other users of this machine can look into SLUICE_DATA_DIR ({settings.DATA_DIR}).",
            hint=f"chmod 700 {settings.DATA_DIR}",
            id="sluice.W001",
        )
    ]
