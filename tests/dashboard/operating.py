"""A running gateway whose prices, rules and keys the dashboard changes."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import streamlit as st
from sqlalchemy.ext.asyncio import AsyncConnection
from streamlit.testing.v1 import AppTest

from dashboard.admin import Admin, token_in
from dashboard.installation import Installation, show
from dashboard.pool import Pool
from gateway.cli.database import Database, ask
from gateway.settings.load import load_settings
from gateway.settings.values import Flags
from gateway.storage.proposals import store_proposals
from pricing.cost import ratio_text
from pricing.importers.proposals import PriceProposal, RateDifference
from tests.installation import Gateway, closed_port, installation, provider_toml, wait_until

CHEAP, DEAR = "cheap/fast-1", "dear/fast-2"


class Operated(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway, and what the dashboard is told of it."""

    gateway: Gateway
    database_url: str
    admin: Admin

    def show(self, *, admin: Admin | None = None) -> Callable[[], None]:
        """Let the dashboard show it; call what comes back at the end."""
        pool = Pool(self.database_url)
        show(Installation(pool=pool, gateway_url=self.gateway.url, admin=admin or self.admin))
        st.cache_data.clear()
        return pool.close

    def follows(self, what: str, is_so: Callable[[], Any]) -> None:
        """Wait until the worker that answers believes what was changed."""
        wait_until(what, is_so)


@contextmanager
def operated(home: Path, *, options: str = "") -> Generator[Operated]:
    """Two providers of ``demo/fast``, of which nobody is ever asked."""
    base_url = f"http://127.0.0.1:{closed_port()}/v1"
    toml = options + "".join(
        provider_toml(endpoint.partition("/")[0], base_url, {"demo/fast": endpoint.split("/")[1]})
        for endpoint in (CHEAP, DEAR)
    )
    with installation(home, toml=toml) as place, place.serve() as gateway:
        settings = load_settings(
            Flags(data_dir=gateway.data_dir), environment=gateway.environment, directory=home
        )
        admin = Admin(gateway.admin_url, token_in(gateway.data_dir / "owner-token"))
        with Database(settings, quiet=True) as database:
            yield Operated(gateway=gateway, database_url=database.url, admin=admin)
        admin.close()


def propose(gateway: Operated, wanted: dict[str, tuple[str, str, str]]) -> None:
    """Have a list propose: by endpoint the rate, what it is now, and what it should be."""
    differences = {
        target: _difference(rate, Decimal(before), Decimal(after))
        for target, (rate, before, after) in wanted.items()
    }
    proposals = [
        PriceProposal(
            target=target,
            listed_as=target,
            url=None,
            rates={one.rate: f"{one.after:f}"},
            terms=None,
            differences=(one,),
            gates=("it changes a lot",) if one.after > one.before * Decimal("1.5") else (),
        )
        for target, one in differences.items()
        if one.before is not None
    ]

    async def store(connection: AsyncConnection) -> None:
        await store_proposals(
            connection,
            "a-list",
            "7",
            proposals,
            looked_at=list(wanted),
            at=datetime.now(UTC),
        )

    ask(gateway.database_url, store)


def _difference(rate: str, before: Decimal, after: Decimal) -> RateDifference:
    return RateDifference(rate=rate, before=before, after=after, times=ratio_text(after, before))


def script(path: str) -> None:
    """One view, as the app draws it."""
    from datetime import UTC, datetime

    from dashboard.filters import choose_period
    from dashboard.views import VIEWS

    view = next(view for view in VIEWS if view.path == path)
    view.render(choose_period(datetime.now(UTC)))


def open_view(path: str, **parameters: str) -> AppTest:
    """The view, drawn once."""
    at = AppTest.from_function(script, args=(path,))
    for name, value in parameters.items():
        at.query_params[name] = value
    at.run(timeout=30)
    assert not at.exception
    return at


def again(at: AppTest) -> AppTest:
    """Drawn once more, after a widget was used."""
    at.run(timeout=30)
    assert not at.exception
    return at


def click(at: AppTest, key: str) -> AppTest:
    """Press a button."""
    at.button(key=key).click()
    return again(at)


def html(at: AppTest) -> str:
    """What the page draws by itself, escaped or not."""
    pieces: list[Any] = list(at.get("html"))
    return "\n".join(piece.proto.body for piece in pieces)


def texts(at: AppTest) -> str:
    """What is written as it stands."""
    return "\n".join(one.value for one in at.text)
