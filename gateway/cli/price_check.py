"""``tollway prices diff`` and ``check``: what the operator changed, and what looks wrong."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway.cli.catalogues import offered_tables
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.price_origin import origin_of
from gateway.cli.printing import print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.settings.values import Settings
from gateway.storage.price_changes import load_price_changes
from gateway.storage.proposals import list_proposals
from pricing.catalogue import TABLES, CatalogueError, load_catalogue
from pricing.endpoint import Endpoint
from pricing.operator_layer import apply_changes, without_discounts
from pricing.price import RATES, Price, resolve
from pricing.warnings import PriceWarning, far_from_others, unpriced, warn_of


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint that costs something else here than in the tables."""

    endpoint: str
    rate: str | None
    """None where the whole price, or the endpoint, is the operator's own."""
    listed: str | None
    here: str | None
    because: str


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that is wrong, or looks so."""

    severity: str
    rule: str
    place: str
    """File and line where it stands in one."""
    problem: str
    remedy: str


def diff(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show where the operator's prices differ from the tables now.

    Args:
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    tables = offered_tables(settings)
    now = datetime.now(UTC)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        believed = apply_changes(tables, ask(database.url, load_price_changes))
    found = [
        row
        for endpoint in believed.endpoints_by_id.values()
        if (listed := tables.endpoints_by_id.get(endpoint.id)) is not endpoint
        for row in _differing(endpoint, listed, now)
    ]
    if as_json:
        print_json(found)
        return
    print_table(
        ["endpoint", "what", "tables", "here", "because"],
        [(one.endpoint, one.rate, one.listed, one.here, one.because) for one in found],
    )
    say(f"{len(found)} differences; USD per million tokens or per piece.")


def check(
    *,
    warnings: bool = True,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Look at every table and every standing change; exits 1 where something is wrong.

    Args:
        warnings: tell what only looks wrong too.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    now = datetime.now(UTC)
    found = _check(settings, now, quiet=as_json)
    if not warnings:
        found = [one for one in found if one.severity == "error"]
    errors = sum(one.severity == "error" for one in found)
    if as_json:
        print_json(found)
        return 1 if errors else 0
    if found:
        print_table(
            ["", "where", "what", "remedy"],
            [(one.severity, one.place, one.problem, one.remedy) for one in found],
        )
    rules = ", ".join(f"{rule}: {n}" for rule, n in Counter(f.rule for f in found).most_common())
    say(f"{errors} errors, {len(found) - errors} warnings{f' ({rules})' if rules else ''}.")
    return 1 if errors else 0


def _check(settings: Settings, now: datetime, *, quiet: bool) -> list[Finding]:
    try:
        load_catalogue(cache=settings.data_dir / "catalogue.cache")
        tables = offered_tables(settings)
    except CatalogueError as exc:
        return [_error(exc, "tables")]
    found: list[Finding] = []
    believed = tables
    with Database(settings, quiet=quiet) as database:
        bring_up_to_date(database.url)
        changes = ask(database.url, load_price_changes)
        waiting = ask(database.url, list_proposals)
    try:
        apply_changes(tables, changes)
        # What is taken off everything alike makes nothing look otherwise, and stands in no file.
        believed = apply_changes(tables, without_discounts(changes))
    except CatalogueError as exc:
        found.append(_error(exc, "changes"))
    if waiting:
        found.append(
            _warning(
                "proposals",
                "proposals",
                f"{len(waiting)} proposals wait",
                "'tollway prices proposals' lists them",
            )
        )
    found += [
        _warning(
            "unpriced",
            endpoint.id,
            "has no price: it fails every cap, and keys with a hard budget cannot use it",
            f"tollway prices set {endpoint.id} --input … --output … --reason …",
        )
        for endpoint in unpriced(believed.endpoints_by_id.values(), now)
    ]
    texts: dict[Path, str] = {}

    def warn(endpoint: Endpoint, warning: PriceWarning) -> None:
        is_own = endpoint is not tables.endpoints_by_id.get(endpoint.id)
        if is_own and warning.rule in {"no-origin", "stale"}:
            # The operator's own prices have their reason in the history.
            return
        files = () if is_own else _files_of(endpoint, settings.config_path)
        place = _place(warning, endpoint, files, texts)
        found.append(_warning(warning.rule, place, warning.problem, warning.remedy))

    for offers in believed.endpoints_by_model.values():
        for warning in far_from_others(offers, now):
            warn(believed.endpoints_by_id[warning.endpoint], warning)
    for endpoint in believed.endpoints_by_id.values():
        for warning in warn_of(endpoint, now):
            warn(endpoint, warning)
    return found


def _files_of(endpoint: Endpoint, config: Path | None) -> tuple[tuple[Path, str | None], ...]:
    """Where an endpoint may stand: the operator's settings, under its provider, or a table."""
    table = (TABLES / f"{endpoint.provider}.toml", None)
    return (table,) if config is None else ((config, endpoint.provider), table)


def _place(
    warning: PriceWarning,
    endpoint: Endpoint,
    files: Iterable[tuple[Path, str | None]],
    texts: dict[Path, str],
) -> str:
    """The first file and line that has it, the endpoint and the value."""
    unlocated = CatalogueError(
        warning.problem,
        remedy=warning.remedy,
        endpoint=endpoint.provider_model,
        key=warning.key,
        value=warning.value,
    )
    located = (
        unlocated.in_file(_shown(path), _text_of(path, texts), provider=provider)
        for path, provider in files
    )
    there = next((one for one in located if one.line is not None), None)
    where = "" if there is None else f"{there.file}:{there.line} "
    value = "" if warning.value is None else f" {warning.key} = {warning.value}"
    return f"{where}{endpoint.id}{value}"


def _text_of(path: Path, texts: dict[Path, str]) -> str:
    if path not in texts:
        texts[path] = path.read_text("utf-8") if path.is_file() else ""
    return texts[path]


def _shown(path: Path) -> str:
    return f"pricing/tables/{path.name}" if path.parent == TABLES else path.name


def _error(exc: CatalogueError, rule: str) -> Finding:
    where = ":".join(str(part) for part in (exc.file, exc.line) if part is not None)
    place = " ".join(part for part in (where, exc.endpoint) if part)
    value = "" if exc.value is None else f", not {exc.value}"
    return Finding(
        severity="error",
        rule=rule,
        place=place or rule,
        problem=f"{exc.problem}{value}",
        remedy=exc.remedy,
    )


def _warning(rule: str, place: str, problem: str, remedy: str) -> Finding:
    return Finding(severity="warning", rule=rule, place=place, problem=problem, remedy=remedy)


def _differing(endpoint: Endpoint, listed: Endpoint | None, now: datetime) -> list[InForce]:
    here = resolve(endpoint, at=now, prompt_tokens=0)
    if listed is None:
        return [
            InForce(endpoint=endpoint.id, rate=None, listed=None, here="own", because="added here")
        ]
    before = resolve(listed, at=now, prompt_tokens=0)
    because = "" if here is None else origin_of(here.version)
    rows = [
        InForce(
            endpoint=endpoint.id,
            rate=rate,
            listed=_amount(before, rate),
            here=_amount(here, rate),
            because=because,
        )
        for rate in RATES
        if _amount(before, rate) != _amount(here, rate)
    ]
    if endpoint.is_disabled_at(now) and not listed.is_disabled_at(now):
        rows.append(
            InForce(
                endpoint=endpoint.id,
                rate="serves",
                listed="yes",
                here="no",
                because="disabled here",
            )
        )
    return rows


def _amount(price: Price | None, rate: str) -> str | None:
    amount = None if price is None else getattr(price, rate)
    return None if amount is None else format(amount.normalize(), "f")
