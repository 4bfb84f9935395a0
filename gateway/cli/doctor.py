"""``tollway doctor``: whether this installation can run, and what to do where it cannot."""

import re
import sys
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, distribution, version
from importlib.util import find_spec

import msgspec

import migrations
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir
from gateway.cli.printing import console, print_json
from gateway.processes.data_directory import DataDirectory
from gateway.processes.ports import PortError, is_held_below, probe_port
from gateway.routing.rules.problems import Problem, RulesError
from gateway.routing.rules.references import check_references
from gateway.routing.rules.rule_set import compile_rules
from gateway.settings.load import load_settings
from gateway.settings.offer import make_offer
from gateway.settings.values import Flags, Settings
from gateway.storage.engine import shown_url
from gateway.storage.rule_sets import active_rule_set

# The name at the beginning of a requirement (PEP 508).
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at."""

    subject: str
    state: str
    """``ok``, ``warning`` or ``error``."""
    detail: str


def doctor(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> int:
    """Look at everything that Tollway needs; exits 1 when something is broken.

    Args:
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    findings = [_look("packages", _packages)]
    settings: Settings | None = None
    try:
        settings = load_settings(Flags(config=config, data_dir=data_dir))
    except Exception as exc:  # noqa: BLE001 - whatever is wrong is the finding
        findings.append(Finding(subject="configuration", state="error", detail=str(exc)))
    if settings is not None:
        where = str(settings.config_path or "defaults and environment")
        findings.append(Finding(subject="configuration", state="ok", detail=where))
        findings += _look_around(settings)
    if as_json:
        print_json(findings)
    else:
        _print(findings)
    return 1 if any(finding.state == "error" for finding in findings) else 0


def _look_around(settings: Settings) -> list[Finding]:
    def data_directory() -> str:
        DataDirectory(settings.data_dir).prepare()
        return str(settings.data_dir)

    def database() -> str:
        with Database(settings, quiet=True) as opened:
            revision = migrations.current(opened.url) or "no tables yet"
            return f"{shown_url(opened.url)}, revision {revision}"

    findings = [
        _look("data directory", data_directory),
        _look("database", database),
        *_providers(settings),
        *_rules(settings),
    ]
    running = DataDirectory(settings.data_dir).holder_pid()
    for name, host, port, variable in (
        ("gateway port", settings.host, settings.port, "TOLLWAY_PORT"),
        ("admin port", "127.0.0.1", settings.admin_port, "TOLLWAY_ADMIN_PORT"),
        ("dashboard port", "127.0.0.1", settings.dashboard_port, "TOLLWAY_DASHBOARD_PORT"),
    ):
        findings.append(_port(name, host, port, variable=variable, running=running))
    return findings


def _look(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject=subject, state="ok", detail=look())
    except Exception as exc:  # noqa: BLE001 - whatever is wrong is the finding
        return Finding(subject=subject, state="error", detail=str(exc) or type(exc).__name__)


def _packages() -> str:
    missing: list[str] = []
    for text in distribution("tollway").requires or []:
        found = _NAME.match(text)
        if found is None:
            continue
        name = found[0]
        try:
            version(name)
        except PackageNotFoundError:
            missing.append(f"{name} is missing")
    if find_spec("dashboard") is None:
        missing.append("the dashboard package is missing")
    if missing:
        raise RuntimeError(
            "; ".join(missing) + "; install anew: pip install --require-hashes -r requirements.lock"
        )
    return f"Python {sys.version.split()[0]}, tollway {version('tollway')}"


def _providers(settings: Settings) -> list[Finding]:
    try:
        offer = make_offer(settings, None)
    except Exception as exc:  # noqa: BLE001 - whatever is wrong is the finding
        return [Finding(subject="providers", state="error", detail=str(exc))]
    count = len(offer.catalogue.endpoints_by_id)
    names = ", ".join(provider.id for provider in offer.providers)
    findings = [
        Finding(subject="providers", state="ok", detail=f"{names}: {count} endpoints")
        if names
        else Finding(
            subject="providers",
            state="warning",
            detail="none, so the simulated ones serve; for real ones set a credential such as "
            "OPENAI_API_KEY, or write tollway.toml",
        )
    ]
    findings += [
        Finding(subject=f"provider {skipped.provider}", state="warning", detail=skipped.reason)
        for skipped in offer.skipped
    ]
    return findings


def _rules(settings: Settings) -> list[Finding]:
    """Whether the rules that are to be in force can be, and whether what they name is there."""
    try:
        where, text = _rules_text(settings)
        if text is None:
            return [Finding(subject="rules", state="ok", detail=where)]
        rules = compile_rules(text, source=where)
        catalogue = make_offer(settings, None).catalogue
        problems: list[Problem] = (
            check_references(rules, catalogue, text=text, aliases=settings.aliases)
            if catalogue.providers
            else []
        )
    except RulesError as exc:
        return [
            Finding(subject="rules", state="error", detail=str(problem)) for problem in exc.problems
        ]
    except Exception as exc:  # noqa: BLE001 - whatever is wrong is the finding
        return [Finding(subject="rules", state="error", detail=str(exc) or type(exc).__name__)]
    found = f"{len(rules.rules)} from {where}, version {rules.version or '-'}"
    return [
        Finding(subject="rules", state="ok", detail=found),
        *(
            Finding(subject="rules", state=problem.severity, detail=str(problem))
            for problem in problems
        ),
    ]


def _rules_text(settings: Settings) -> tuple[str, str | None]:
    """Where the rules stand, and their text; None when there are none."""
    if settings.rules_path is not None:
        return str(settings.rules_path), settings.rules_path.read_text("utf-8")
    with Database(settings, quiet=True) as opened:
        if migrations.current(opened.url) != migrations.head():
            return "none; the database's tables are not up to date", None
        stored = ask(opened.url, active_rule_set)
    return ("none", None) if stored is None else (f"rule set {stored.number}", stored.source)


def _port(name: str, host: str, port: int, *, variable: str, running: int | None) -> Finding:
    try:
        probe_port(host, port, purpose=name, remedy=f"set {variable}")
    except PortError as exc:
        if running is not None and is_held_below(port, running):
            detail = f"{port} is this Tollway's own, which is running (pid {running})"
            return Finding(subject=name, state="ok", detail=detail)
        detail = str(exc).removeprefix(f"{name}: ")
        return Finding(subject=name, state="warning", detail=detail)
    return Finding(subject=name, state="ok", detail=f"{port} is free")


def _print(findings: list[Finding]) -> None:
    marks = {"ok": "[green]ok[/]     ", "warning": "[yellow]warning[/]", "error": "[red]error[/]  "}
    for finding in findings:
        console().print(marks[finding.state], end=" ", highlight=False)
        console().print(
            f"{finding.subject}: {finding.detail}", highlight=False, markup=False, soft_wrap=True
        )
