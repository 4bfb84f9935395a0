"""The parts of a worker: what it holds for as long as it lives, each handed what it needs.

Nothing runs yet and no route is known: `gateway.app` begins and ends what works in the background,
and puts the parts behind addresses.
"""

import socket

import msgspec

from gateway.api.embeddings import EMBEDDINGS, for_embeddings
from gateway.api.messages import MESSAGES
from gateway.api.metrics import Sources
from gateway.api.traffic import Traffic
from gateway.exchange import CHAT
from gateway.execution.access import AccessBook, ProviderAccess
from gateway.execution.egress import make_policy
from gateway.execution.experience import Experience
from gateway.execution.google_token import GoogleTokens
from gateway.execution.own_access import OwnAccess
from gateway.execution.runner import Runner
from gateway.execution.shadow import Shadows
from gateway.execution.token_ratios import RatioCopy
from gateway.execution.transport import AiohttpTransport
from gateway.execution.upstream import Upstream
from gateway.from_settings import (
    budget_rules,
    common_deadlines,
    decision_policy,
    first_snapshot,
    health_board,
    media_fetcher,
    origins_of,
    provider_access,
    retention,
    runner_limits,
)
from gateway.ledger.budget_bounds import BoundRules
from gateway.ledger.budget_keeper import BudgetKeeper
from gateway.ledger.limit_table import TABLE_NAME, open_limits
from gateway.ledger.limits import Limiter
from gateway.ledger.purse import Purse
from gateway.ledger.shipper import Shipper
from gateway.ledger.spool import Spool
from gateway.ledger.toll import Tollbooth
from gateway.ledger.upkeep import Upkeep
from gateway.metrics.node import NodeFiles
from gateway.metrics.watch import Watch, WatchedLedger
from gateway.notices.health_log import HealthLog
from gateway.notices.sender import Sender
from gateway.notices.sending import Courier
from gateway.notices.watching import NoticeWatch, NoticingLedger, Unpriced
from gateway.pipeline import Pipeline
from gateway.settings.offer import make_offer
from gateway.settings.values import Settings
from gateway.snapshot.budgets import StoredBudgets
from gateway.snapshot.prices import StoredPrices
from gateway.snapshot.refresh import KeyRefresh
from gateway.snapshot.rules import RuleBook, RuleFile, StoredRules
from gateway.snapshot.snapshot import SnapshotHolder
from gateway.storage.asking import Asker
from gateway.version import USER_AGENT

_ADMIN_S = 5.0
_ACCOUNT_S = 2.0
_JOB_S = 30.0


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Which worker this is and what it talks to. ``database_url`` may hold a password."""

    worker: int
    database_url: str
    pepper: bytes
    owner_token: str
    has_admin: bool
    simulated_url: str | None = None

    def __repr__(self) -> str:
        return f"Place(worker {self.worker})"

    @property
    def is_first(self) -> bool:
        """It does what is done once on a node."""
        return self.worker == 0


class Parts:
    """All of them, wired.

    Raises:
        SettingsError: the configuration is incomplete.
        CatalogueError: a table of prices is wrong.
    """

    def __init__(self, settings: Settings, place: Place) -> None:
        self.traffic = Traffic(
            most=settings.limits.in_flight_per_worker,
            stalled_client_s=settings.deadlines.stalled_client_s,
        )
        self.offer = make_offer(settings, place.simulated_url)
        self.snapshots = SnapshotHolder(first_snapshot(settings, self.offer))
        self._hold_records(settings, place)
        self._hold_beliefs(settings, place)
        self._hold_money(settings, place)
        self._ask_the_database(place.database_url)
        self._reach_providers(settings)
        self._watch_the_node(settings, place)
        self._answer_requests(settings, place)
        self._tell_operators(settings, place)

    def _hold_records(self, settings: Settings, place: Place) -> None:
        """From the local disk to Postgres, and there for as long as they are kept."""
        self.spool = Spool(
            settings.data_dir / "spool", worker=place.worker, max_bytes=settings.limits.spool_bytes
        )
        self.shipper = Shipper(self.spool, place.database_url)
        self.upkeep = Upkeep(place.database_url, retention(settings))

    def _hold_beliefs(self, settings: Settings, place: Place) -> None:
        """Keys, prices, budgets and rules, as the database or a file has them."""
        copies = settings.data_dir / "snapshot"
        self.rules_path = settings.rules_path
        book = RuleBook(self.snapshots, copies / "rules.msgpack")
        self.rule_file = RuleFile(book, self.rules_path) if self.rules_path else None
        self.keys = KeyRefresh(
            self.snapshots,
            place.database_url,
            copies / "keys.msgpack",
            followers=(
                StoredPrices(self.snapshots, self.offer.catalogue, copies / "prices.msgpack"),
                StoredBudgets(self.snapshots, copies / "budgets.msgpack"),
                *(() if self.rule_file is not None else (StoredRules(book),)),
            ),
            end_requests_of=self.traffic.end_requests_of,
        )

    def _hold_money(self, settings: Settings, place: Place) -> None:
        """What callers may spend, and how fast."""
        self.purse = Purse(budget_rules(settings))
        self.keeper = BudgetKeeper(
            self.purse,
            place.database_url,
            self.spool.writer.name,
            budgets=lambda: self.snapshots.current.budgets,
        )
        self.limiter = Limiter(
            open_limits(settings.data_dir / TABLE_NAME, worker=place.worker),
            is_enforced=settings.budgets.mode == "enforce",
        )

    def _ask_the_database(self, url: str) -> None:
        """One for each kind of question: a slow one keeps nobody else waiting."""
        self.ask = Asker(url, within_s=_ADMIN_S, application_name="tollway admin")
        self.account_ask = Asker(url, within_s=_ACCOUNT_S, application_name="tollway account")
        self.job_ask = Asker(url, within_s=_JOB_S, application_name="tollway jobs")
        self.notice_ask = Asker(url, within_s=_ADMIN_S, application_name="tollway notices")

    def _reach_providers(self, settings: Settings) -> None:
        """Their addresses and credentials, their health, and what runs attempts."""
        offered = self.offer.providers
        self.transport = AiohttpTransport(
            policy=make_policy(one.base_url for one in offered if one.allow_private),
            connect_timeout_s=settings.deadlines.connect_s,
        )
        self.media_transport = AiohttpTransport(policy=make_policy(settings.media.private_origins))
        self.health = health_board(settings, self.offer)
        self.providers: dict[str, ProviderAccess] = {
            one.id: provider_access(one, settings, self.transport) for one in offered
        }
        secrets = [access.secret_of for access in self.providers.values()]
        self.tokens = [secret for secret in secrets if isinstance(secret, GoogleTokens)]
        upstream = Upstream(media_fetcher(settings, self.media_transport))
        self.shadows = Shadows(upstream, most=settings.limits.shadows_per_worker)
        self.runner = Runner(upstream, runner_limits(settings), advice=self.health)

    def _watch_the_node(self, settings: Settings, place: Place) -> None:
        """Numbers about what runs, of all workers of the node together."""
        self.sources = Sources(
            traffic=self.traffic,
            spool=self.spool,
            shipping=self.shipper.state,
            health=self.health,
            budget=self.runner.budget,
            shadows=self.shadows,
            snapshots=self.snapshots,
            purse=self.purse,
            limiter=self.limiter,
        )
        self.watch = Watch(
            NodeFiles(settings.data_dir / "metrics", worker=place.worker),
            gauges=self.sources.gauges,
            follow=self.sources.follow,
        )

    def _answer_requests(self, settings: Settings, place: Place) -> None:
        """A pipeline for each API; they share all they hold."""
        self.unpriced = Unpriced()
        ledger = NoticingLedger(WatchedLedger(self.spool, self.watch), self.unpriced)
        experience = Experience()
        self.ratio_copy = RatioCopy(
            experience.ratios, settings.data_dir / "snapshot", worker=place.worker
        )
        booth = Tollbooth(
            self.purse,
            self.limiter,
            rules=BoundRules(answer_tokens=settings.budgets.answer_tokens),
            learned=experience.output_p95,
            expected_output_tokens=settings.routing.expected_output_tokens,
            ratio_of=experience.ratios.of,
        )
        self.policy = decision_policy(settings, self.offer, place.pepper)
        own_access = OwnAccess(
            self.providers,
            transport=self.transport,
            policy=self.transport.policy,
            deadlines=common_deadlines(settings),
            user_agent=USER_AGENT,
        )
        self.pipelines = {
            api.name: Pipeline(
                snapshots=self.snapshots,
                runner=self.runner,
                access_of=AccessBook(reached),
                health=self.health,
                ledger=ledger,
                shadows=self.shadows,
                policy=self.policy,
                api=api,
                experience=experience,
                booth=booth,
                own_access=own_access,
            )
            for api, reached in (
                (CHAT, self.providers),
                (MESSAGES, self.providers),
                (EMBEDDINGS, for_embeddings(self.providers)),
            )
        }

    def _tell_operators(self, settings: Settings, place: Place) -> None:
        """Every worker looks; the first one sends, for what another one looked at too."""
        origins = settings.webhooks.private_origins
        self.webhook_transport = AiohttpTransport(policy=make_policy(origins))
        self.courier = Courier(
            self.webhook_transport, place.pepper, private_origins=origins_of(origins)
        )
        self.sender = Sender(self.notice_ask, self.courier)
        self.notice_watch = NoticeWatch(
            self.notice_ask,
            health_since=self.health.events.since,
            unpriced=self.unpriced,
            spool_age_s=lambda: self.spool.oldest_unshipped_s,
            node=self.spool.writer.name,
            tell_without_database=self.sender.send_from_memory if place.is_first else None,
            lag_s=settings.webhooks.spool_lag_s,
        )
        self.health_log = HealthLog(
            self.notice_ask,
            since=self.health.events.since,
            node=f"{socket.gethostname()}:{settings.port}",
        )
