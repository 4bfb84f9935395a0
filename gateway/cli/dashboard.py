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


def dashboard(*, config: Config = None, data_dir: DataDir = None, port: int | None = None) -> None:
    """Serve the dashboard on 127.0.0.1 until interrupted.

    Args:
        config: the tollway.toml to read.
        data_dir: where data lies.
        port: default 8501.
    """
    settings = settings_of(config, data_dir)
    wanted = settings.dashboard_port if port is None else port
    chosen = probe_port(
        "127.0.0.1", wanted, purpose="dashboard", remedy="--port or TOLLWAY_DASHBOARD_PORT"
    )
    with Database(settings) as database:
        bring_up_to_date(database.url)
        child = start_dashboard(
            reader_url(database.url, settings),
            "127.0.0.1",
            chosen,
            gateway_url=f"http://{settings.host}:{settings.port}",
            admin_url=f"http://127.0.0.1:{settings.admin_port}",
            owner_token_file=DataDirectory(settings.data_dir).owner_token_file,
        )
        child.await_port("127.0.0.1", chosen)
        say(f"Dashboard: http://127.0.0.1:{chosen}")
        signal.signal(signal.SIGTERM, _end)
        try:
            child.process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            child.stop(within_s=5.0)


def _end(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
