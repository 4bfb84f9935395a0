"""What this process was told about the installation that it shows: one per process.

Streamlit's scripts take no arguments, and an address with a password must not travel through the
environment, so `dashboard.serve` leaves it here.
"""

import msgspec

from dashboard.admin import Admin
from dashboard.pool import Pool
from dashboard.sessions import Sessions

USUAL_GATEWAY_URL = "http://127.0.0.1:8080"


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """Where the records are, and where clients reach the gateway."""

    pool: Pool
    gateway_url: str = USUAL_GATEWAY_URL
    """For the examples on empty pages."""
    admin: Admin | None = None
    """Through which things are changed; None shows only what the database has."""
    sessions: Sessions | None = None
    """Who is signed in; None: nobody can sign in."""
    needs_sign_in: bool = False
    """Nobody else sees anything."""
    baseline: str | None = None
    """What savings are told against; an endpoint, or ``dearest``."""


class _Told:
    installation: Installation | None = None


def show(installation: Installation) -> None:
    """Show this one from now on."""
    _Told.installation = installation


def installation() -> Installation:
    """The one that is shown.

    Raises:
        RuntimeError: `show` was not called.
    """
    if _Told.installation is None:
        raise RuntimeError("run `python -m dashboard.serve`: it says which database is shown")
    return _Told.installation
