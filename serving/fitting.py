"""Which server runs: `serving.server` leans on the inside of one version of daphne."""

import logging
from typing import Any

import daphne

VERSION = "4.2"
logger = logging.getLogger(__name__)


def fitting_server() -> Any:
    """The class of our server; with another daphne its own, and a warning."""
    if daphne.__version__.startswith(f"{VERSION}."):
        from serving.server import Server

        return Server
    logger.warning(
        "daphne %s is installed, and the limits of Sluice fit %s only: this server takes bodies "
        "of any size into memory. Install the packages of requirements.txt.",
        daphne.__version__,
        VERSION,
    )
    from daphne.server import Server as DaphneServer

    return DaphneServer
