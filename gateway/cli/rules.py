"""``tollway rules``: look at rules, check and compare a file, apply it, and go back."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
from cyclopts import App

from gateway.cli.catalogues import offered_tables
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.routing.rules.diff import describe, diff
from gateway.routing.rules.problems import Problem, RulesError
from gateway.routing.rules.references import check_references
from gateway.routing.rules.rule_set import NO_RULES, RuleSet, compile_rules
from gateway.settings.values import Settings
from gateway.storage.rule_sets import (
    EMPTY_VERSION,
    StoredRuleSet,
    active_rule_set,
    add_rule_set,
    list_rule_sets,
    roll_back,
)
from pricing.catalogue import load_catalogue

rules = App(name="rules", help="Look at the rules of routing, change them, and go back.")
rules.command(
    "gateway.cli.rules_replay:replay",
    name="replay",
    help="Decide logged requests again, to see what a file of rules would have changed.",
)
_ACTOR = "command line"
_MOST_VERSIONS = 100


class InForce(msgspec.Struct, frozen=True, kw_only=True):
    """The rules that this installation uses, and where they come from."""

    origin: str
    """``file`` or ``database``."""
    where: str
    """The file's path, or which rule set."""
    text: str
    rules: RuleSet


@rules.command
def show(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show the rules in force, in the order in which they are applied."""
    settings = settings_of(config, data_dir)
    found = rules_in_force(settings, quiet=as_json)
    if as_json:
        shown = [{"name": rule.name, "members": describe(rule)} for rule in found.rules.rules]
        print_json(
            {
                "origin": found.origin,
                "where": found.where,
                "version": found.rules.version,
                "rules": shown,
            }
        )
        return
    say(f"{found.where}, version {found.rules.version or '- (no rules)'}")
    for number, rule in enumerate(found.rules.rules, start=1):
        say()
        say(f"{number}. {rule.name}{'' if rule.enabled else ' (not enabled)'}")
        for member, value in describe(rule).items():
            say(f"     {member} = {msgspec.json.encode(value).decode()}")


@rules.command
def check(
    file: Path,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Look for mistakes in a file of rules; exits 1 when there are any. Changes nothing.

    Args:
        file: the rules, in TOML.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    compiled, problems = checked_rules(file, settings_of(config, data_dir))
    is_valid = compiled is not None and not errors_of(problems)
    if as_json:
        print_json(
            {
                "valid": is_valid,
                "version": compiled.version if compiled is not None else None,
                "rules": len(compiled.rules) if compiled is not None else 0,
                "problems": problems,
            }
        )
        return 0 if is_valid else 1
    for problem in problems:
        say(f"{problem.severity}  {problem}")
    if compiled is not None and is_valid:
        say(f"{len(compiled.rules)} rules, version {compiled.version or '-'}")
    return 0 if is_valid else 1


@rules.command(name="diff")
def compare(
    file: Path,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show what a file of rules would change, rule by rule: + added, - removed, ~ changed, > moved.

    Args:
        file: the rules, in TOML.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    compiled, problems = checked_rules(file, settings)
    if compiled is None:
        raise CommandError(listed(problems))
    found = diff(rules_in_force(settings, quiet=as_json).rules, compiled)
    if as_json:
        print_json(found)
        return
    for line in found.lines() or ["Nothing would change."]:
        say(line)


@rules.command
def apply(
    file: Path,
    /,
    *,
    comment: str | None = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put a file of rules in force as a new version; running gateways follow within a second.

    Args:
        file: the rules, in TOML.
        comment: why, for the history.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    _check_changeable(settings)
    compiled, problems = checked_rules(file, settings)
    if compiled is None or errors_of(problems):
        raise CommandError(listed(errors_of(problems)))
    text, version = _read(file), compiled.version or EMPTY_VERSION
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        stored = ask(
            database.url,
            lambda connection: add_rule_set(
                connection,
                source=text,
                version=version,
                comment=comment,
                at=datetime.now(UTC),
                actor=_ACTOR,
            ),
        )
    if as_json:
        print_json({**_summary(stored), "problems": problems})
        return
    for problem in problems:
        say(f"{problem.severity}  {problem}")
    say(f"Rule set {stored.number} (version {stored.version}) is in force.")


@rules.command
def history(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """List the versions in the database, newest first."""
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        bring_up_to_date(database.url)
        found = ask(
            database.url, lambda connection: list_rule_sets(connection, limit=_MOST_VERSIONS)
        )
    if as_json:
        print_json([{**_summary(one), "source": one.source} for one in found])
        return
    print_table(
        ["number", "version", "in force", "made", "by", "comment"],
        [
            (
                one.number,
                one.version,
                "yes" if one.is_active else None,
                f"{one.created_at:%Y-%m-%d %H:%M} UTC",
                one.created_by,
                one.comment,
            )
            for one in found
        ],
    )


@rules.command
def rollback(
    number: int | None = None,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier version in force again; running gateways follow within a second.

    Args:
        number: as 'tollway rules history' shows it; default: the one before that in force.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    _check_changeable(settings)
    with Database(settings, quiet=as_json) as database:
        bring_up_to_date(database.url)
        stored = ask(
            database.url,
            lambda connection: roll_back(connection, number, at=datetime.now(UTC), actor=_ACTOR),
        )
    if stored is None:
        raise CommandError("there is no such version; 'tollway rules history' lists them")
    if as_json:
        print_json(_summary(stored))
    else:
        say(f"Rule set {stored.number} (version {stored.version}) is in force.")


def rules_in_force(settings: Settings, *, quiet: bool) -> InForce:
    """The rules that running gateways use.

    Raises:
        CommandError: their file cannot be read or has a mistake.
    """
    path = settings.rules_path
    if path is not None:
        text = _read(path)
        return InForce(
            origin="file", where=str(path), text=text, rules=_compiled(text, source=str(path))
        )
    with Database(settings, quiet=quiet) as database:
        bring_up_to_date(database.url)
        stored = ask(database.url, active_rule_set)
    if stored is None:
        return InForce(origin="database", where="no rule set", text="", rules=NO_RULES)
    where = f"rule set {stored.number}"
    return InForce(
        origin="database",
        where=where,
        text=stored.source,
        rules=_compiled(stored.source, source=where),
    )


def checked_rules(file: Path, settings: Settings) -> tuple[RuleSet | None, list[Problem]]:
    """The rules of a file, and what is wrong with it; None where they cannot be compiled."""
    text = _read(file)
    try:
        compiled = compile_rules(text, source=str(file))
    except RulesError as exc:
        return None, list(exc.problems)
    return compiled, check_references(
        compiled,
        offered_tables(settings),
        text=text,
        aliases=settings.aliases,
        shipped=load_catalogue(),
    )


def _compiled(text: str, *, source: str) -> RuleSet:
    try:
        return compile_rules(text, source=source)
    except RulesError as exc:
        raise CommandError(str(exc)) from exc


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as exc:
        raise CommandError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise CommandError(f"{path}: is not UTF-8 (byte {exc.start})") from exc


def _check_changeable(settings: Settings) -> None:
    if settings.rules_path is not None:
        raise CommandError(
            f"the rules come from the file {settings.rules_path}: change the file, or take the "
            "setting `rules` (TOLLWAY_RULES) away to use rule sets in the database"
        )


def errors_of(problems: list[Problem]) -> list[Problem]:
    """Those that keep rules from being applied."""
    return [problem for problem in problems if problem.severity == "error"]


def listed(problems: list[Problem]) -> str:
    """One line for each."""
    return "\n".join(str(problem) for problem in problems)


def _summary(stored: StoredRuleSet) -> dict[str, object]:
    return {
        "number": stored.number,
        "version": stored.version,
        "comment": stored.comment,
        "created_at": stored.created_at,
        "created_by": stored.created_by,
        "is_active": stored.is_active,
        "activated_at": stored.activated_at,
    }
