"""Requests under rules: what the client is told, what providers get, and what is remembered."""

from typing import Any

import msgspec
import pytest

from gateway.answers import WholeAnswer
from gateway.chat.dialects import Dialect
from gateway.domain.errors import NoEndpointError, OverloadedError, PermissionDeniedError
from gateway.domain.outcomes import Outcome
from gateway.simulator.server import Simulator
from tests.pipeline.rig import Offer, Rig, chat_request, rig_on
from tests.routing.factories import make_caller
from tests.routing.rules.applying import rule, rules_of

pytestmark = pytest.mark.anyio

OFFERS = (Offer(), Offer(model="acme/small"))


def put(rig: Rig, text: str | None) -> None:
    rules = None if text is None else rules_of(text)
    rig.snapshots.current = msgspec.structs.replace(rig.snapshots.current, rules=rules)


async def test_a_denied_request_goes_nowhere_and_is_recorded(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, rule('deny = "Ask the platform team."', 'models = ["acme/*"]'))

        with pytest.raises(PermissionDeniedError, match="platform team") as caught:
            await rig.answer()

        assert (caught.value.status, caught.value.code) == (403, "rule_denied")
        record = rig.ledger.only
        assert (record.outcome, record.error_kind) == (Outcome.REFUSED, "rule_denied")
        assert record.attempts == ()
        assert record.plan["denied_by"] == "one"
        assert record.rule_version is not None


async def test_a_replaced_model_answers_while_the_clients_word_is_kept(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, rule('replace_models = ["acme/small"]', 'models = ["acme/large"]'))

        _, body = await rig.whole()

        record = rig.ledger.only
        assert body["model"] == record.used_model == "acme/small"
        assert body["metadata"]["requested_model"] == record.requested_model == "acme/large"
        assert record.plan["models"] == ("acme/small",)


async def test_the_fastapi_dialect_echoes_what_was_asked_for_under_rules_too(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, rule('replace_models = ["acme/small"]'))

        answer = await rig.pipeline.answer(
            chat_request(Dialect.FASTAPI), make_caller(), rig.interruption
        )

        assert isinstance(answer, WholeAnswer)
        assert msgspec.json.decode(answer.body)["model"] == "acme/large"
        assert rig.ledger.only.used_model == "acme/small"


async def test_a_model_of_a_rule_never_pins_a_provider(simulator: Simulator) -> None:
    # On this path `p0/…` would pin: the rule's name is that of a model all the same.
    offers = (Offer(model="p1/model"), Offer(model="p1/model"))
    async with rig_on(simulator, *offers) as rig:
        put(rig, rule('replace_models = ["p1/model"]'))

        await rig.answer(model="anything/else")

        assert rig.ledger.only.requested_provider is None
        assert len(_candidates(rig)) == 2


async def test_rules_see_headers_and_the_record_does_not(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, rule('labels = { tier = "gold" }', 'headers = { x-tier = "gold*" }'))
        secret_tier = "gold-4711"

        for headers in ({"x-tier": secret_tier}, {}):
            await rig.pipeline.answer(
                chat_request(), make_caller(labels={"team": "a"}), rig.interruption, headers=headers
            )

        ruled, plain = rig.ledger.records
        assert ruled.labels == {"team": "a", "tier": "gold"}
        assert plain.labels == {"team": "a"}
        assert secret_tier not in str(ruled)


async def test_tightened_away_endpoints_are_excluded_with_their_reason(
    simulator: Simulator,
) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        provider = rig.endpoints[0].provider
        put(rig, rule(f'tighten = {{ ignore = ["{provider}"] }}'))

        with pytest.raises(NoEndpointError):
            await rig.answer()


async def test_a_split_is_on_the_record_and_sticks(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(
            rig,
            rule(
                'split = { by = "session", arms = [{ name = "old", weight = 1 }, '
                '{ name = "new", weight = 1, replace_models = ["acme/small"] }] }'
            ),
        )
        for _ in range(3):
            await rig.answer(session_id="one")

        splits: list[Any] = [record.plan["splits"] for record in rig.ledger.records]
        assert splits[0] == splits[1] == splits[2]
        assert splits[0][0]["probability"] == 0.5
        assert splits[0][0]["unit"] == "session"
        plan = rig.ledger.records[0].plan
        assert (plan["mode"], plan["mode_in_arm"]) == ("rule_split", "deterministic")
        assert (plan["p_arms"], plan["assignment_unit"]) == (0.5, "session")


async def test_a_request_under_way_keeps_the_rules_it_began_with(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, rule('labels = { rules = "old" }'))
        version = rules_of(rule('labels = { rules = "old" }')).version
        stream = await rig.stream()
        put(rig, rule('deny = "No more."'))

        async for _ in stream.events:
            pass

        record = rig.ledger.only
        assert (record.rule_version, record.labels) == (version, {"rules": "old"})
        assert record.outcome is Outcome.SUCCESS


async def test_nothing_is_answered_while_the_rules_are_not_known(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, None)

        with pytest.raises(OverloadedError) as caught:
            await rig.answer()

        assert caught.value.code == "rules_unknown"


async def test_a_dry_run_is_under_the_rules_too(simulator: Simulator) -> None:
    async with rig_on(simulator, *OFFERS) as rig:
        put(rig, rule('replace_models = ["acme/small"]'))
        assert rig.pipeline.plan(chat_request(), make_caller()).models == ("acme/small",)

        put(rig, rule('deny = "No."'))
        with pytest.raises(PermissionDeniedError):
            rig.pipeline.plan(chat_request(), make_caller())


def _candidates(rig: Rig) -> list[Any]:
    candidates: Any = rig.ledger.only.plan["candidates"]
    return list(candidates)
