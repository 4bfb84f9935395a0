"""Builds a worker of its parts: the routes it answers, and what runs beside them until its end."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any
from uuid import UUID

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from gateway.api.admin.application import admin_app
from gateway.api.admin.audit import admin_audit_routes
from gateway.api.admin.budgets import admin_budget_routes
from gateway.api.admin.catalogue import admin_catalogue_routes
from gateway.api.admin.dry_run import admin_dry_run_routes
from gateway.api.admin.explain_again import admin_explain_again_routes
from gateway.api.admin.guard import Guard
from gateway.api.admin.jobs import JobDesk, admin_job_routes
from gateway.api.admin.keys import admin_key_routes
from gateway.api.admin.preview import admin_preview_routes
from gateway.api.admin.price_import import admin_price_import_routes
from gateway.api.admin.prices import PriceDesk, admin_price_routes
from gateway.api.admin.proposals import admin_proposal_routes
from gateway.api.admin.replay import admin_replay_routes
from gateway.api.admin.rules import RulesDesk, admin_rule_routes
from gateway.api.admin.savings import admin_savings_routes
from gateway.api.admin.sessions import SessionDesk, admin_session_routes
from gateway.api.admin.users import admin_user_routes
from gateway.api.admin.webhooks import admin_webhook_routes
from gateway.api.auth import KEYS_STALE_AFTER_S, authenticate
from gateway.api.embeddings import EMBEDDINGS
from gateway.api.front import Front
from gateway.api.guessing import Guesses
from gateway.api.health import Readiness, health_routes
from gateway.api.messages import MESSAGES
from gateway.api.metrics import metrics_routes
from gateway.api.surface import Surroundings, data_app
from gateway.domain.caller import Caller
from gateway.exchange import CHAT
from gateway.parts import Parts, Place
from gateway.routing.replaying import Installation
from gateway.settings.values import Settings

_READ_ON_S = 1.0
_REST_S = 1.0

_log = logging.getLogger("tollway.app")


class Worker:
    """The applications of one worker and what runs beside them in its event loop."""

    def __init__(self, settings: Settings, place: Place) -> None:
        parts = self._parts = Parts(settings, place)
        self._place = place
        self._snapshots = parts.snapshots
        self.drain_streams_s = settings.deadlines.drain_streams_s
        self.traffic = parts.traffic
        self._jobs = JobDesk()
        self._guesses = Guesses()
        self._tasks: set[asyncio.Task[None]] = set()
        self.data = self._data_app(settings)
        self.admin = self._admin_app() if place.has_admin else None

    async def start(self) -> None:
        """Begin what runs in the background; returns once requests can be answered."""
        parts = self._parts
        await parts.keys.load()
        if parts.rule_file is not None:
            await parts.rule_file.load()
        for name, work in self._background():
            task = asyncio.create_task(work, name=name)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(_tell_failure)
            self._tasks.add(task)

    async def stop(self, *, ship_within_s: float) -> None:
        """Bring what is spooled to Postgres if it answers in time, and let everything go."""
        parts = self._parts
        await self._jobs.aclose()
        for pipeline in parts.pipelines.values():
            await pipeline.aclose(within_s=_READ_ON_S)
        await parts.shadows.aclose(within_s=_READ_ON_S)
        parts.spool.close()
        # What the last records cost is settled by the shipper, and nothing is leased after it.
        await parts.keeper.aclose()
        await parts.shipper.drain(ship_within_s)
        await parts.health_log.write_rest(within_s=_REST_S)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.wait(self._tasks, timeout=1.0) if self._tasks else None
        for tokens in parts.tokens:
            await tokens.aclose()
        for transport in (parts.transport, parts.media_transport, parts.webhook_transport):
            await transport.aclose()
        for ask in (parts.ask, parts.job_ask, parts.notice_ask, parts.account_ask):
            await ask.aclose()
        parts.health.close()
        parts.limiter.close()
        parts.ratio_copy.write()

    def _background(self) -> Iterator[tuple[str, Coroutine[Any, Any, None]]]:
        parts, is_first = self._parts, self._place.is_first
        if parts.rule_file is not None:
            yield "rules", parts.rule_file.run()
        yield "keys", parts.keys.run()
        yield "shipper", parts.shipper.run()
        yield "budgets", parts.keeper.run()
        if is_first:
            # One worker of a node does it; nodes keep out of each other's way.
            yield "upkeep", parts.upkeep.run()
        yield "traffic", parts.traffic.sweep()
        yield "metrics", parts.watch.run()
        yield "token ratios", parts.ratio_copy.run()
        yield "notices", parts.notice_watch.run()
        yield "health log", parts.health_log.run()
        if is_first:
            yield "webhooks", parts.sender.run()

    def _data_app(self, settings: Settings) -> Front:
        parts = self._parts
        return data_app(
            Surroundings(
                chat=parts.pipelines[CHAT.name],
                embeddings=parts.pipelines[EMBEDDINGS.name],
                messages=parts.pipelines[MESSAGES.name],
                authenticate=self._authenticate,
                traffic=parts.traffic,
                catalogue=lambda: parts.snapshots.current.catalogue,
                health=parts.health,
                readiness=self._readiness,
                ask=parts.account_ask,
                body_limit=settings.limits.body_bytes,
                text_limit=settings.limits.text_bytes,
                cors_origins=settings.cors.origins,
                more_routes=self._metrics_routes() if settings.metrics.on_data_port else [],
            )
        )

    def _admin_app(self) -> Litestar:
        parts, place = self._parts, self._place
        ask, job_ask, jobs, snapshots = parts.ask, parts.job_ask, self._jobs, parts.snapshots
        sessions = SessionDesk(ask)
        prices = PriceDesk(ask, snapshots, parts.offer.catalogue)
        rules = RulesDesk(ask, snapshots, parts.rules_path)
        return admin_app(
            [
                *admin_key_routes(ask, place.pepper),
                *admin_budget_routes(ask),
                *admin_price_routes(prices),
                *admin_preview_routes(prices, jobs, job_ask),
                *admin_price_import_routes(prices, jobs, job_ask),
                *admin_proposal_routes(prices),
                *admin_catalogue_routes(prices),
                *admin_rule_routes(rules),
                *admin_replay_routes(rules, jobs, job_ask, self._installation),
                *admin_savings_routes(jobs, job_ask, self._installation),
                *admin_dry_run_routes(parts.pipelines[CHAT.name], snapshots, rules),
                *admin_explain_again_routes(parts.pipelines, snapshots, ask),
                *admin_session_routes(sessions),
                *admin_user_routes(ask, sessions),
                *admin_audit_routes(ask),
                *admin_webhook_routes(ask, parts.courier),
                *admin_job_routes(jobs),
                *health_routes(self._readiness),
                *self._metrics_routes(),
            ],
            Guard(place.owner_token, sessions.find),
        )

    def _installation(self, callers: Mapping[UUID, Caller]) -> Installation:
        """What decides logged requests again."""
        snapshot, policy = self._snapshots.current, self._parts.policy
        return Installation(
            catalogue=snapshot.catalogue,
            callers=callers,
            aliases=snapshot.aliases,
            slash_pins_provider=policy.slash_pins_provider,
            configured_models=snapshot.configured_models,
            auto_pool=policy.auto_models,
            fetches_media=policy.fetches_media,
            strategy=policy.strategy,
            balance=policy.balance,
            salt=policy.split_salt,
        )

    def _metrics_routes(self) -> list[HTTPRouteHandler]:
        return metrics_routes(self._parts.watch, self._parts.sources.info)

    def _authenticate(self, headers: Mapping[str, str]) -> Caller:
        return authenticate(
            headers,
            self._snapshots.current,
            self._place.pepper,
            now_s=time.time(),
            guesses=self._guesses,
        )

    def _readiness(self) -> Readiness:
        if self.traffic.is_draining:
            return Readiness(ready=False, reason="shutting down")
        if not self._parts.spool.is_writable:
            return Readiness(ready=False, reason="requests cannot be recorded: spool unwritable")
        snapshot = self._snapshots.current
        if snapshot.confirmed_at_s is None:
            return Readiness(ready=False, reason="API keys were never loaded")
        if time.time() - snapshot.confirmed_at_s > KEYS_STALE_AFTER_S:
            return Readiness(ready=False, reason="API keys could not be confirmed for too long")
        if snapshot.rules is None:
            return Readiness(ready=False, reason="no valid rules are known; the log says why")
        if snapshot.rules_problem is not None:
            return Readiness(
                ready=True, reason="ok; newer rules have a mistake and are not in force"
            )
        return Readiness(ready=True)


def create_app(settings: Settings, place: Place) -> Worker:
    """A worker, built and not yet started.

    Raises:
        SettingsError: the configuration is incomplete.
        CatalogueError: a table of prices is wrong.
    """
    return Worker(settings, place)


def _tell_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (exc := task.exception()) is not None:
        _log.error("background task %s ended", task.get_name(), exc_info=exc)
