"""Puts the commands together and turns what goes wrong into a message and an exit code."""

import sys

from cyclopts import App
from cyclopts.exceptions import CycloptsError

from gateway.cli.dashboard import dashboard
from gateway.cli.doctor import doctor
from gateway.cli.keys import keys
from gateway.cli.migrate import migrate
from gateway.cli.prices import prices
from gateway.cli.printing import CommandError
from gateway.cli.requests import requests
from gateway.cli.serve import serve
from gateway.cli.simulate import simulate
from gateway.cli.up import up
from gateway.processes.data_directory import DataDirectoryError
from gateway.processes.ports import PortError
from gateway.processes.supervisor import StartError
from gateway.settings.load import SettingsError
from gateway.storage.pg_process import EmbeddedPostgresError
from gateway.storage.roles import ReaderRoleError
from gateway.storage.waiting import DatabaseUnavailableError
from gateway.version import CODE_VERSION
from migrations import MigrationError
from pricing.errors import CatalogueError

app = App(
    name="tollway",
    help="A self-hosted, cost-aware routing gateway for language models.",
    version=CODE_VERSION,
)
for command in (up, serve, migrate, simulate, doctor):
    app.command(command)
app.command(dashboard)
app.command(keys)
app.command(requests)
app.command(prices)

_EXPECTED = (
    CommandError,
    SettingsError,
    DataDirectoryError,
    PortError,
    StartError,
    EmbeddedPostgresError,
    ReaderRoleError,
    DatabaseUnavailableError,
    MigrationError,
    CatalogueError,
)


def run() -> None:
    """Run the command line; exits 1 with one message where something is wrong."""
    try:
        result = app(exit_on_error=False, print_error=True, result_action="return_value")
    except CycloptsError:
        sys.exit(2)
    except _EXPECTED as exc:
        sys.stderr.write(f"tollway: {exc}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(141)
    sys.exit(result if isinstance(result, int) else 0)
