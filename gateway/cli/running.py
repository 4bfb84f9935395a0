"""A running installation: what ``tollway up`` and ``tollway serve`` start, watch and take down."""

import logging
import signal
import threading
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any, Self

from gateway.cli.database import Database, ask
from gateway.cli.demo import live_senders, make_past
from gateway.cli.printing import note
from gateway.cli.schema import bring_up_to_date, reader_url
from gateway.execution.shared_health import TABLE_NAME, forget_table
from gateway.ledger.limit_table import TABLE_NAME as LIMIT_TABLE_NAME
from gateway.processes.children import Child, start_dashboard, start_simulator, start_traffic
from gateway.processes.data_directory import DataDirectory
from gateway.processes.logs import set_up_logging
from gateway.processes.orders import Orders
from gateway.processes.ports import probe_port
from gateway.processes.supervisor import Workers
from gateway.settings.offer import Offer, make_offer
from gateway.settings.values import Settings
from gateway.storage.key_issue import KeyWish, count_keys, issue_key

_log = logging.getLogger("tollway")
_POLL_S = 0.2
_GRACE_S = 20.0
_EXAMPLE_MODELS = ("openai/gpt-4o-mini", "simulated/fast")
FIRST_KEY_NAME = "first"


class Installation:
    """Everything that one command keeps running; leaving the context takes it down in order."""

    def __init__(self, settings: Settings, *, purpose: str, quiet: bool) -> None:
        self._settings = settings
        self._purpose = purpose
        self._quiet = quiet
        self._stack = ExitStack()
        self._stop = threading.Event()
        self._signals = 0
        self._database: Database | None = None
        self._workers: Workers | None = None
        self._offer: Offer | None = None
        self._dashboard: Child | None = None
        self._children: list[Child] = []
        self._directory = DataDirectory(settings.data_dir)
        self._ports: dict[str, int] = {}
        self._simulated_url: str | None = None
        self._pepper = b""
        self._key: str | None = None

    def __enter__(self) -> Self:
        set_up_logging()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def prepare(self, *, with_dashboard: bool = False) -> None:
        """Take the data directory and the ports, open the database, bring its tables up to date.

        Raises:
            DataDirectoryError: the directory cannot be used, or another process uses it.
            PortError: a port is taken.
            EmbeddedPostgresError: the database cannot be started.
            CommandError: the database does not answer.
            SettingsError: a provider's table is incomplete.
            CatalogueError: a table of prices is wrong.
        """
        settings = self._settings
        self._directory.prepare()
        self._directory.lock(self._purpose)
        self._stack.callback(self._directory.close)
        self._probe("gateway", settings.host, settings.port, "--port or TOLLWAY_PORT")
        self._probe("admin", "127.0.0.1", settings.admin_port, "--admin-port or TOLLWAY_ADMIN_PORT")
        if with_dashboard:
            self._probe(
                "dashboard",
                "127.0.0.1",
                settings.dashboard_port,
                "--dashboard-port or TOLLWAY_DASHBOARD_PORT",
            )
        self._pepper = self._directory.pepper(settings.secret)
        self._directory.owner_token()
        self._offer = make_offer(settings, None)
        for skipped in self._offer.skipped:
            self._note(f"provider {skipped.provider} does not serve: {skipped.reason}")
        self._database = self._stack.enter_context(Database(settings, quiet=self._quiet))
        bring_up_to_date(self._database.url)

    @property
    def has_providers(self) -> bool:
        return bool(self._offer and self._offer.providers)

    @property
    def has_keys(self) -> bool:
        return ask(self._url(), count_keys) > 0

    def make_first_key(self) -> str | None:
        """A key, when the installation has none yet; None when it has. Told to be shown once."""
        if self.has_keys:
            return None
        self._key = self._issue(KeyWish(name=FIRST_KEY_NAME))
        return self._key

    def start_simulator(self) -> None:
        """Let the simulated providers serve."""
        port = probe_port("127.0.0.1", 0, purpose="simulator", remedy="a free port")
        child = self._adopt(start_simulator("127.0.0.1", port))
        child.await_port("127.0.0.1", port)
        self._simulated_url = f"http://127.0.0.1:{port}"
        self._offer = make_offer(self._settings, self._simulated_url)

    def start_dashboard(self) -> None:
        """Start the dashboard; it takes seconds, so waiting for it comes last."""
        self._dashboard = self._adopt(
            start_dashboard(
                reader_url(self._url(), self._settings),
                "127.0.0.1",
                self._ports["dashboard"],
                gateway_url=self.told()["gateway_url"],
                admin_url=self.told()["admin_url"],
                owner_token_file=self._directory.owner_token_file,
                sign_in=self._settings.dashboard_sign_in,
                baseline=self._settings.savings.baseline,
            )
        )

    def await_dashboard(self) -> None:
        if self._dashboard is not None:
            self._dashboard.await_port("127.0.0.1", self._ports["dashboard"])

    def make_past(self, requests: int) -> None:
        """Give the installation a made-up past to look at, once.

        Raises:
            CommandError: it could not be stored.
        """
        make_past(
            self._url(),
            requests,
            pepper=self._pepper,
            with_rules=self._settings.rules_path is None,
            quiet=self._quiet,
        )

    def start_traffic(self) -> None:
        """Send a little traffic through the gateway, so that there is something to see."""
        senders = live_senders(self._url(), pepper=self._pepper)
        self._adopt(start_traffic(self.told()["gateway_url"], senders))

    def start_workers(self, *, drain_listen_s: float) -> None:
        """Start the gateway's processes and wait until they are ready.

        Raises:
            StartError: one of them did not become ready.
        """
        settings = self._settings

        def orders(worker: int, status_fd: int) -> Orders:
            return Orders(
                worker=worker,
                worker_count=settings.workers,
                config_path=str(settings.config_path) if settings.config_path else None,
                data_dir=str(settings.data_dir),
                database_url=self._url(),
                host=settings.host,
                port=self._ports["gateway"],
                admin_port=self._ports["admin"] if worker == 0 else None,
                simulated_url=self._simulated_url,
                drain_listen_s=drain_listen_s,
                status_fd=status_fd,
            )

        forget_table(settings.data_dir / TABLE_NAME)
        forget_table(settings.data_dir / LIMIT_TABLE_NAME)
        workers = self._workers = Workers(orders, settings.workers)
        longest_s = drain_listen_s + settings.deadlines.drain_streams_s + _GRACE_S
        self._stack.callback(lambda: workers.stop(within_s=longest_s))
        workers.start()

    def told(self) -> dict[str, Any]:
        """Where everything is."""
        host = self._settings.host
        if ":" in host:
            host = f"[{host}]"
        urls = {
            "gateway_url": f"http://{host}:{self._ports['gateway']}",
            "admin_url": f"http://127.0.0.1:{self._ports['admin']}",
        }
        if "dashboard" in self._ports:
            urls["dashboard_url"] = f"http://127.0.0.1:{self._ports['dashboard']}"
        providers = self._offer.providers if self._offer else ()
        return {**urls, "providers": [provider.id for provider in providers]}

    def example_model(self) -> str:
        """A model that this installation serves, for a first try."""
        if self._offer is None:
            return _EXAMPLE_MODELS[0]
        served = self._offer.catalogue.endpoints_by_model
        for name in _EXAMPLE_MODELS:
            if name in served:
                return name
        chat = [name for name, of in served.items() if any(e.mode == "chat" for e in of)]
        return min(chat, default=_EXAMPLE_MODELS[0])

    def run(self) -> None:
        """Until told to stop, start anew what dies."""
        while not self._stop.is_set():
            if self._workers is not None:
                self._workers.revive(self._stop.is_set)
            for child in self._children:
                child.revive()
            if self._database is not None:
                self._database.revive()
            self._stop.wait(_POLL_S)
        self._note("ending: open requests may finish; once more ends it at once")

    def _probe(self, name: str, host: str, port: int, remedy: str) -> None:
        self._ports[name] = probe_port(host, port, purpose=name, remedy=remedy)

    def _adopt(self, child: Child) -> Child:
        self._children.append(child)
        self._stack.callback(lambda: child.stop(within_s=5.0))
        return child

    def _url(self) -> str:
        if self._database is None:
            raise RuntimeError("prepare() comes first")
        return self._database.url

    def _issue(self, wish: KeyWish) -> str:
        _, text = ask(
            self._url(),
            lambda connection: issue_key(
                connection, wish, pepper=self._pepper, actor=self._purpose
            ),
        )
        return text

    def _note(self, text: str) -> None:
        if not self._quiet:
            note(text)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals == 1:
            if self._workers is None:
                raise KeyboardInterrupt
            self._stop.set()
        elif self._workers is not None:
            self._workers.hurry()
