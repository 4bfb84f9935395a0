"""Puts the commands together and turns what goes wrong into a message and an exit code."""

import sys

from cyclopts import App, Parameter
from cyclopts.exceptions import CycloptsError

from gateway.version import CODE_VERSION

app = App(
    name="tollway",
    help="A self-hosted, cost-aware routing gateway for language models.",
    version=CODE_VERSION,
    default_parameter=Parameter(show_default=False, negative=""),
)
# By name, so that a command loads only what it needs itself.
_COMMANDS = {
    "up": "Start everything on this machine: PostgreSQL, gateway, dashboard.",
    "serve": "Serve the gateway, as in production; SIGTERM drains it.",
    "dashboard": "Serve the dashboard alone.",
    "keys": "Make, list, change and revoke API keys.",
    "budgets": "Limit what keys may spend.",
    "users": "Make, list, change and revoke those who may sign in.",
    "webhooks": "Make, list, try and delete webhooks.",
    "requests": "Look into recorded requests.",
    "prices": "Show what endpoints cost, and change it.",
    "rerate": "Correct what requests cost, after prices were corrected.",
    "savings": "Show what requests would have cost elsewhere.",
    "rollups": "Make the sums that the dashboard reads anew.",
    "reconcile": "Compare a provider's own account with what was recorded.",
    "rules": "Look at the rules of routing, change them, and go back.",
    "explain": "Show who would serve a request, and why not the others.",
    "migrate": "Bring the database's tables up to date.",
    "doctor": "Look for what is wrong, and say what to do.",
    "simulate": "Run the simulated providers alone.",
}
for _place, (_name, _help) in enumerate(_COMMANDS.items()):
    app.command(f"gateway.cli.{_name}:{_name}", name=_name, help=_help, sort_key=_place)


def run() -> None:
    """Run the command line; exits 1 with one message where something is wrong."""
    for place, argument in enumerate(sys.argv[1:], start=1):
        if not _is_text(argument):
            sys.stderr.write(f"tollway: argument {place} is not UTF-8: {argument!a}; correct it\n")
            sys.exit(2)
    try:
        result = app(exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    except ImportError:
        # A package is missing or broken; whoever called us explains.
        raise
    except Exception as exc:
        if not isinstance(exc, _expected()):
            raise
        sys.stderr.write(f"tollway: {exc}\n")
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


def _is_text(argument: str) -> bool:
    """Whether it can be stored, sent and shown; bytes that are no text come as half characters."""
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True


def _expected() -> tuple[type[Exception], ...]:
    """What is told in one line; anything else is a bug and shows its trace."""
    from gateway.cli.printing import CommandError  # noqa: PLC0415 - only when something is wrong
    from gateway.processes.data_directory import DataDirectoryError  # noqa: PLC0415
    from gateway.processes.ports import PortError  # noqa: PLC0415
    from gateway.processes.supervisor import StartError  # noqa: PLC0415
    from gateway.settings.load import SettingsError  # noqa: PLC0415
    from gateway.simulator.script import ScriptError  # noqa: PLC0415
    from gateway.storage.pg_process import EmbeddedPostgresError  # noqa: PLC0415
    from gateway.storage.roles import ReaderRoleError  # noqa: PLC0415
    from gateway.storage.waiting import DatabaseUnavailableError  # noqa: PLC0415
    from migrations import MigrationError  # noqa: PLC0415
    from pricing.errors import CatalogueError  # noqa: PLC0415

    return (
        CommandError,
        DataDirectoryError,
        PortError,
        StartError,
        SettingsError,
        ScriptError,
        EmbeddedPostgresError,
        ReaderRoleError,
        DatabaseUnavailableError,
        MigrationError,
        CatalogueError,
    )
