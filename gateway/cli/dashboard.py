"""``tollway dashboard``: the dashboard alone, on an installation that exists."""

import signal
import sys
from types import FrameType

from gateway.cli.database import Database
from gateway.cli.options import Config, DataDir, settings_of
from gateway.cli.printing import say
from gateway.cli.schema import bring_up_to_date, reader_url
from gateway.processes.children import start_dashboard
from gateway.processes.data_directory import DataDirectory
from gateway.processes.ports import probe_port

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what is reached there from here


def dashboard(
    *,
    config: Config = None,
    data_dir: DataDir = None,
    host: str | None = None,
    port: int | None = None,
) -> None:
    """Serve the dashboard until interrupted.

    At an address that others can reach everybody has to sign in, as 'tollway users create' lets
    them; it speaks HTTP, so put a reverse proxy with TLS before it.

    Args:
        config: the tollway.toml to read.
        data_dir: where data lies.
        host: address to listen on; default 127.0.0.1.
        port: default 8501.
    """
    settings = settings_of(config, data_dir)
    wanted = settings.dashboard_port if port is None else port
    at = host or settings.dashboard_host
    chosen = probe_port(at, wanted, purpose="dashboard", remedy="--port or TOLLWAY_DASHBOARD_PORT")
    with Database(settings) as database:
        bring_up_to_date(database.url)
        child = start_dashboard(
            reader_url(database.url, settings),
            at,
            chosen,
            gateway_url=f"http://{settings.host}:{settings.port}",
            admin_url=f"http://127.0.0.1:{settings.admin_port}",
            owner_token_file=DataDirectory(settings.data_dir).owner_token_file,
            sign_in=settings.dashboard_sign_in,
            baseline=settings.savings.baseline,
        )
        reached = _ANYWHERE.get(at, at)
        child.await_port(reached, chosen)
        shown = f"[{reached}]" if ":" in reached else reached
        say(f"Dashboard: http://{shown}:{chosen}")
        signal.signal(signal.SIGTERM, _end)
        try:
            child.process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            child.stop(within_s=5.0)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
