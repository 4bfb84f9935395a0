"""The dashboard reads the admin API by shapes of its own: both have to say the same."""

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import msgspec
import pytest

from dashboard import admin_answers as ours
from gateway.api.admin import (
    audit,
    budgets,
    catalogue,
    explain_again,
    jobs,
    keys,
    preview,
    prices,
    proposals,
    rules,
)
from gateway.routing import explanation, replaying_report
from gateway.routing.rules import diff, problems
from gateway.storage import audit as stored_audit
from gateway.storage import budget_views, rule_sets
from gateway.storage import keys as stored_keys
from gateway.storage import proposals as stored_proposals
from pricing import previewing
from pricing.importers import proposals as proposed
from pricing.operator_layer import PriceChange
from tests.dashboard.operating import CHEAP, DEAR, Operated, operated, propose
from tests.installation import MESSAGES, wait_until

PAIRS: tuple[tuple[Any, Any], ...] = (
    (ours.OfferedEndpoint, catalogue.OfferedEndpoint),
    (ours.Offered, catalogue.Offered),
    (ours.PriceSpan, catalogue.PriceSpan),
    (ours.PriceSpans, catalogue.PriceSpans),
    (ours.PriceChanges, prices.ChangeList),
    (ours.PreviewedEndpoint, previewing.PreviewedEndpoint),
    (ours.PricePreview, preview.PricePreview),
    (ours.RateDifference, proposed.RateDifference),
    (ours.Proposal, stored_proposals.StoredProposal),
    (ours.Proposals, proposals.ProposalList),
    (ours.Job, jobs.Job),
    (ours.Problem, problems.Problem),
    (ours.Verdict, rules.Verdict),
    (ours.ShownRule, rules.ShownRule),
    (ours.RulesInForce, rules.RulesInForce),
    (ours.RuleSetVersion, rule_sets.StoredRuleSet),
    (ours.RuleSetVersions, rules.History),
    (ours.MemberDiff, diff.MemberDiff),
    (ours.RuleDiff, diff.RuleDiff),
    (ours.RuleSetDiff, diff.RuleSetDiff),
    (ours.TriedCandidate, explanation.ExplainedCandidate),
    (ours.TriedExclusion, explanation.ExplainedExclusion),
    (ours.TriedRules, explanation.ExplainedRules),
    (ours.Refusal, explanation.Refusal),
    (ours.Tried, explanation.Explanation),
    (ours.TriedAgain, explain_again.ExplainedAgain),
    (ours.ReplayMove, replaying_report.MoveRow),
    (ours.ReplayExample, replaying_report.Example),
    (ours.Reproduced, replaying_report.Reproduced),
    (ours.ReplayReport, replaying_report.ReplayReport),
    (ours.Key, stored_keys.StoredKey),
    (ours.Keys, keys.KeyPage),
    (ours.CreatedKey, keys.CreatedKey),
    (ours.BudgetView, budget_views.BudgetView),
    (ours.Budgets, budgets.BudgetList),
    (ours.Released, budgets.Released),
    (ours.AuditEntry, stored_audit.AuditEntry),
    (ours.AuditPage, audit.AuditPage),
)


def structs_of(module: ModuleType) -> set[Any]:
    members = [getattr(module, name) for name in dir(module)]
    return {
        one
        for one in members
        if inspect.isclass(one)
        and issubclass(one, msgspec.Struct)
        and one.__module__ == module.__name__
    }


def test_every_shape_stands_beside_the_one_it_repeats() -> None:
    assert {own for own, _ in PAIRS} == structs_of(ours)


@pytest.mark.parametrize(("own", "theirs"), PAIRS, ids=lambda one: one.__name__)
def test_the_dashboard_reads_only_what_the_gateway_says(own: Any, theirs: Any) -> None:
    said = set(theirs.__struct_encode_fields__)

    assert set(own.__struct_encode_fields__) - said == set()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    with operated(tmp_path_factory.mktemp("answers")) as found:
        yield found


RULES = '[[rules]]\nname = "no-dear"\nthen = { tighten = { ignore = ["dear"] } }\n'


def test_what_a_gateway_answers_is_read(gateway: Operated) -> None:
    """Whatever is asked is decoded by the dashboard's shapes, members and types."""
    admin = gateway.admin
    week = {"since": datetime.now(UTC) - timedelta(days=7)}
    wish = {"kind": "discount", "target": CHEAP, "factor": "0.5", "reason": "a test"}
    propose(
        gateway,
        {CHEAP: ("input_usd_per_mtok", "1", "3"), DEAR: ("output_usd_per_mtok", "2", "2.2")},
    )
    made = admin.post("/admin/keys", ours.CreatedKey, {"name": "k", "labels": {"team": "a"}})
    with gateway.gateway.client(made.text) as client:
        wait_until("the key works", lambda: gateway.gateway.accepts(made.text))
        client.post("/v1/chat/completions", json={"model": "demo/fast", "messages": MESSAGES})

    assert admin.post("/admin/prices/changes", PriceChange, wish).factor is not None
    assert admin.get("/admin/prices/changes", ours.PriceChanges).data[0].reason == "a test"
    gateway.follows(
        "the discount holds",
        lambda: (
            admin.get("/admin/catalogue/prices", ours.PriceSpans, endpoint=CHEAP).data[-1].layers
            == ("tables", "discount")
        ),
    )
    offered = admin.get("/admin/catalogue", ours.Offered, model="demo/fast", prompt_tokens=9)
    assert {one.endpoint for one in offered.data} == {CHEAP, DEAR}
    proposals_ = admin.get("/admin/proposals", ours.Proposals).data
    assert [(one.target, bool(one.gates)) for one in proposals_] == [(DEAR, False), (CHEAP, True)]
    assert proposals_[1].differences[0].times == "3"

    assert not admin.post("/admin/rules/check", ours.Verdict, {"source": "["}).valid
    difference = admin.post("/admin/rules/diff", ours.RuleSetDiff, {"source": RULES})
    assert difference.changes[0].kind == "added"
    admin.post("/admin/rules", ours.RuleSetVersion, {"source": RULES})
    gateway.follows("the rules hold", lambda: admin.get("/admin/rules", ours.RulesInForce).rules)
    assert admin.get("/admin/rules/history", ours.RuleSetVersions).active is not None
    request = {"model": "demo/fast", "messages": MESSAGES}
    tried = admin.post("/admin/explain", ours.Tried, {"request": request})
    assert tried.candidates[0].expected_cost_usd is not None
    assert [one.endpoint for one in tried.exclusions] == [DEAR]

    assert admin.get("/admin/keys", ours.Keys).data[0].labels == {"team": "a"}
    budget = {"name": "b", "limit_usd": "5", "everyone": True, "strict": True}
    assert admin.post("/admin/budgets", ours.BudgetView, budget).strict
    assert admin.get("/admin/budgets", ours.Budgets).data[0].expired_usd == 0
    assert admin.post("/admin/budgets/b/release", ours.Released).released_usd == 0
    assert admin.get("/admin/audit", ours.AuditPage, subject="b").data[-1].action == "budget.create"

    found = result(gateway, "/admin/prices/preview", {"change": wish, **week})
    assert msgspec.json.decode(found, type=ours.PricePreview).attempts >= 0
    replayed = result(gateway, "/admin/rules/replay", {"source": "", **week})
    assert msgspec.json.decode(replayed, type=ours.ReplayReport).sample > 0


def result(gateway: Operated, path: str, body: dict[str, Any]) -> bytes:
    job = gateway.admin.post(path, ours.Job, body)

    def ended() -> ours.Job | None:
        found = gateway.admin.get(f"/admin/jobs/{job.id}", ours.Job)
        return None if found.state == "running" else found

    found = wait_until("the job has ended", ended)
    assert found.state == "done", found.error
    return bytes(found.result)
