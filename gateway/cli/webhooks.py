"""``tollway webhooks``: who is told of budgets, providers, prices and the spool."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar
from uuid import UUID

import httpx
from cyclopts import App, Parameter

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.domain.notices import NoticeKind
from gateway.domain.wishes import WishError
from gateway.execution.egress import make_policy, origin_of
from gateway.execution.transport import AiohttpTransport
from gateway.notices.sending import Courier, trial_event
from gateway.processes.data_directory import DataDirectory
from gateway.settings.values import Settings
from gateway.storage.engine import Connection
from gateway.storage.webhooks import (
    Outcome,
    StoredWebhook,
    add_webhook,
    delete_webhook,
    list_webhooks,
    read_states,
)

T = TypeVar("T")
webhooks = App(name="webhooks", help="Make, list, try and delete webhooks.")
_ACTOR = "command line"


@webhooks.command
def create(
    url: str,
    /,
    *,
    kind: Annotated[tuple[NoticeKind, ...], Parameter(negative="")] = (),
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Make a webhook; the secret that verifies it is shown once.

    Args:
        url: a public https address, or one listed under [webhooks] in tollway.toml.
        kind: what it is told of; may be repeated; default: everything.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    courier = _courier(settings)
    try:
        courier.check(url)
        made = _ask(
            settings,
            lambda c: add_webhook(c, url=url, kinds=kind, at=datetime.now(UTC), actor=_ACTOR),
            quiet=as_json,
        )
    except WishError as exc:
        raise CommandError(str(exc)) from exc
    secret = courier.secret(made.id)
    if as_json:
        print_json({"webhook": made, "secret": secret})
    else:
        say(secret)
        say(f"Shown once; keep it. The webhook is {made.id}; try: tollway webhooks test {made.id}")


@webhooks.command(name="list")
def show(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List all webhooks and how they fare."""
    found = _ask(settings_of(config, data_dir), read_states, quiet=as_json)
    if as_json:
        print_json(found)
        return
    print_table(
        ["id", "address", "told of", "waiting", "last delivered", "problem"],
        [
            (
                hook.id,
                hook.url,
                " ".join(hook.kinds) or "everything",
                hook.waiting,
                hook.last_delivered_at and f"{hook.last_delivered_at:%Y-%m-%d %H:%M} UTC",
                hook.last_problem,
            )
            for hook in found
        ],
    )


@webhooks.command(name="test")
def try_out(
    webhook_id: UUID,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Send a webhook an event of the kind 'test', once; exits 1 when it is not taken.

    Args:
        webhook_id: as 'tollway webhooks list' shows it.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    hooks = _ask(settings, list_webhooks, quiet=as_json)
    hook = next((one for one in hooks if one.id == webhook_id), None)
    if hook is None:
        raise _unknown(webhook_id)
    outcome = asyncio.run(_send(settings, hook))
    if as_json:
        print_json(outcome)
    elif outcome.is_delivered:
        say(f"Delivered; it answered with HTTP {outcome.status_code}.")
    else:
        say(f"Not delivered: {outcome.problem}.")
    return 0 if outcome.is_delivered else 1


@webhooks.command
def delete(
    webhook_id: UUID,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Delete a webhook and what is on its way to it.

    Args:
        webhook_id: as 'tollway webhooks list' shows it.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    gone = _ask(
        settings_of(config, data_dir),
        lambda c: delete_webhook(c, webhook_id, at=datetime.now(UTC), actor=_ACTOR),
        quiet=as_json,
    )
    if gone is None:
        raise _unknown(webhook_id)
    if as_json:
        print_json(gone)
    else:
        say(f"Deleted {webhook_id} ({gone.url}).")


async def _send(settings: Settings, hook: StoredWebhook) -> Outcome:
    courier = _courier(settings)
    try:
        return await courier.send(hook.id, hook.url, trial_event())
    finally:
        await courier.aclose()


def _courier(settings: Settings) -> Courier:
    origins = settings.webhooks.private_origins
    return Courier(
        AiohttpTransport(policy=make_policy(origins)),
        DataDirectory(settings.data_dir).pepper(settings.secret),
        private_origins=frozenset(origin_of(httpx.URL(origin)) for origin in origins),
    )


def _ask(settings: Settings, work: Callable[[Connection], Awaitable[T]], *, quiet: bool) -> T:
    with Database(settings, quiet=quiet) as database:
        bring_up_to_date(database.url)
        return ask(database.url, work)


def _unknown(webhook_id: UUID) -> CommandError:
    return CommandError(f"there is no webhook {webhook_id}; 'tollway webhooks list' shows them")
