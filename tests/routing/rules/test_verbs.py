"""Each verb of a rule, and how several rules work together."""

from decimal import Decimal
from typing import Any

import pytest

from gateway.chat.preferences import Bounds, MaxPrice, ProviderPreferences
from gateway.routing.rules.apply import Meaning
from gateway.routing.rules.wishes import FIELDS_OF_MEMBER, TIGHTENERS
from tests.routing.factories import make_request
from tests.routing.rules.applying import rule, ruled

GPT = "openai/gpt-4o"


def preferences(text: str, **request: Any) -> ProviderPreferences:
    return ruled(text, **request).request.provider


def test_every_preference_can_be_written_in_a_rule() -> None:
    fields = {field for fields in FIELDS_OF_MEMBER.values() for field in fields}

    assert fields == set(ProviderPreferences.__struct_fields__)
    assert set(TIGHTENERS) <= fields


def test_a_request_that_no_rule_changes_stays_the_very_same_value() -> None:
    request = make_request()
    found = ruled(rule('labels = { a = "b" }'))

    assert found.request == request
    assert ruled(rule('sort = "price"', 'models = ["x"]')).rules == ()


class TestSet:
    def test_replaces_what_the_caller_asked(self) -> None:
        text = rule('set = { only = ["Azure"], allow_fallbacks = false }, sort = "latency"')

        found = preferences(text, only=("openai",), order=("mistral",))

        assert found == ProviderPreferences(
            only=("azure",), allow_fallbacks=False, sort="latency", order=("mistral",)
        )

    def test_replaces_prices_part_by_part(self) -> None:
        found = preferences(
            rule("set = { max_price = { prompt = 5 } }"),
            max_price={"prompt_usd_per_mtok": "1", "completion_usd_per_mtok": "2"},
        )

        assert found.max_price == MaxPrice(
            prompt_usd_per_mtok=Decimal(5), completion_usd_per_mtok=Decimal(2)
        )

    def test_money_stays_exact(self) -> None:
        found = preferences(rule("set = { max_cost_usd = 0.1, max_price = { prompt = 0.3 } }"))

        assert found.max_cost_usd == Decimal("0.1")
        assert found.max_price == MaxPrice(prompt_usd_per_mtok=Decimal("0.3"))

    def test_sorts_and_can_sort_across_models(self) -> None:
        found = preferences(rule('sort = { by = "throughput", partition = "none" }'))

        assert (found.sort, found.partition) == ("throughput", "none")


class TestTighten:
    @pytest.mark.parametrize(
        ("asked", "then", "expected"),
        [
            pytest.param({}, 'only = ["azure"]', {"only": ("azure",)}, id="only, none asked"),
            pytest.param(
                {"only": ("openai", "azure")},
                'only = ["azure", "mistral"]',
                {"only": ("azure",)},
                id="only, both",
            ),
            pytest.param(
                {"only": ("deepinfra",)},
                'only = ["deepinfra/fp8"]',
                {"only": ("deepinfra/fp8",)},
                id="only, the narrower of two",
            ),
            pytest.param(
                {"only": ("deepinfra/fp8",)},
                'only = ["deepinfra"]',
                {"only": ("deepinfra/fp8",)},
                id="only, the caller's is narrower",
            ),
            pytest.param({"ignore": ("a",)}, 'ignore = ["b"]', {"ignore": ("a", "b")}, id="ignore"),
            pytest.param({}, "allow_fallbacks = false", {"allow_fallbacks": False}, id="fallbacks"),
            pytest.param({}, "zdr = true", {"zdr": True}, id="zdr"),
            pytest.param(
                {}, 'data_collection = "deny"', {"data_collection": "deny"}, id="data collection"
            ),
            pytest.param(
                {},
                "enforce_distillable_text = true",
                {"enforce_distillable_text": True},
                id="distillable",
            ),
            pytest.param(
                {}, "require_parameters = true", {"require_parameters": True}, id="parameters"
            ),
            pytest.param(
                {"quantizations": ("fp8", "bf16")},
                'quantizations = ["bf16", "fp16"]',
                {"quantizations": ("bf16",)},
                id="quantizations",
            ),
            pytest.param(
                {"max_price": {"prompt_usd_per_mtok": "1", "completion_usd_per_mtok": "9"}},
                "max_price = { prompt = 2, completion = 3 }",
                {
                    "max_price": MaxPrice(
                        prompt_usd_per_mtok=Decimal(1), completion_usd_per_mtok=Decimal(3)
                    )
                },
                id="prices, part by part",
            ),
            pytest.param(
                {"max_cost_usd": Decimal("0.5")},
                "max_cost_usd = 0.7",
                {"max_cost_usd": Decimal("0.5")},
                id="cost, the caller's is lower",
            ),
            pytest.param(
                {"max_cost_usd": Decimal("0.5")},
                "max_cost_usd = 0.2",
                {"max_cost_usd": Decimal("0.2")},
                id="cost, the rule's is lower",
            ),
            pytest.param(
                {"min_throughput_tokens_per_s": Bounds(p50=50, p90=10)},
                "min_throughput = { p50 = 20, p90 = 30 }",
                {"min_throughput_tokens_per_s": Bounds(p50=50, p90=30)},
                id="throughput",
            ),
            pytest.param(
                {"max_latency_ms": Bounds(p50=500)},
                "max_latency = 2",
                {"max_latency_ms": Bounds(p50=500)},
                id="latency in seconds, as requests have it",
            ),
        ],
    )
    def test_joins_both_sides(
        self, asked: dict[str, Any], then: str, expected: dict[str, Any]
    ) -> None:
        found = preferences(rule(f"tighten = {{ {then} }}"), **asked)

        wanted = make_request(**asked).provider
        fields = {f: getattr(wanted, f) for f in ProviderPreferences.__struct_fields__}
        assert found == ProviderPreferences(**(fields | expected))

    @pytest.mark.parametrize(
        ("asked", "then", "said"),
        [
            pytest.param(
                {"only": ("openai",)}, 'only = ["azure"]', "allows azure in `provider.only`"
            ),
            pytest.param(
                {"quantizations": ("int4",)},
                'quantizations = ["bf16"]',
                "allows bf16 in `provider.quantizations`",
            ),
        ],
    )
    def test_denies_what_would_leave_nothing_rather_than_drop_a_side(
        self, asked: dict[str, Any], then: str, said: str
    ) -> None:
        denial = ruled(rule(f"tighten = {{ {then} }}"), **asked).denial

        assert denial is not None
        assert said in denial.message


class TestModels:
    def test_replaces_those_that_the_rule_asked_for(self) -> None:
        found = ruled(
            rule('replace_models = ["acme/a", "acme/b"]', 'models = ["openai/*"]'),
            GPT,
            "mistral/large",
        )

        assert found.request.models == ("acme/a", "acme/b", "mistral/large")
        assert found.given_models == {"acme/a", "acme/b"}

    def test_replaces_all_when_the_rule_asks_for_none(self) -> None:
        found = ruled(rule('replace_models = ["acme/a"]'), GPT, "mistral/large")

        assert found.request.models == ("acme/a",)

    def test_replaces_a_model_that_was_typed_by_another_name(self) -> None:
        found = ruled(
            rule('replace_models = ["acme/a"]', 'models = ["openai/*"]'),
            "gpt-4o",
            "mistral/large",
            meanings={"gpt-4o": Meaning(model=GPT)},
        )

        assert found.request.models == ("acme/a", "mistral/large")

    def test_adds_models_behind_the_others_once(self) -> None:
        found = ruled(rule('add_models = ["acme/a", "openai/gpt-4o"]'), GPT)

        assert found.request.models == (GPT, "acme/a")
        # What the caller named keeps the caller's meaning, a pin for instance.
        assert found.given_models == {"acme/a"}


class TestDeny:
    def test_ends_with_the_operators_message(self) -> None:
        found = ruled(
            rule('deny = "Ask the platform team."', name="stop")
            + rule('labels = { a = "b" }', name="two")
        )

        assert found.denial is not None
        assert (found.denial.rule, found.denial.message) == ("stop", "Ask the platform team.")
        assert found.rules == ("stop",)

    def test_takes_a_mirror_back(self) -> None:
        found = ruled(rule('mirror = { to = "acme/a" }', name="m") + rule('deny = "No."', name="d"))

        assert found.mirror is None


class TestLabels:
    def test_are_attached_over_those_of_the_key(self) -> None:
        found = ruled(rule('labels = { team = "two", cost = "x" }'), labels={"team": "one"})

        assert found.labels == {"team": "two", "cost": "x"}

    def test_are_seen_by_the_rules_behind(self) -> None:
        found = ruled(
            rule('labels = { tier = "gold" }', name="a")
            + rule('sort = "latency"', 'labels = { tier = "gold" }', name="b")
        )

        assert found.rules == ("a", "b")


class TestMirror:
    def test_of_a_whole_share_always_comes(self) -> None:
        mirror = ruled(rule('mirror = { to = "acme/shadow" }')).mirror

        assert mirror is not None
        assert (mirror.rule, mirror.to, mirror.share) == ("one", "acme/shadow", 1.0)

    def test_comes_as_often_as_its_share(self) -> None:
        text = rule('mirror = { to = "acme/shadow", share = 0.25 }')

        count = sum(ruled(text, seed=seed).mirror is not None for seed in range(4_000))

        # Five standard deviations: sqrt(4000 * 0.25 * 0.75) is 27.4.
        assert abs(count - 1_000) < 137

    def test_is_the_same_for_the_same_seed(self) -> None:
        text = rule('mirror = { to = "acme/shadow", share = 0.5 }')

        assert ruled(text, seed=7) == ruled(text, seed=7)

    def test_of_several_the_first_stands(self) -> None:
        mirror = ruled(
            rule('mirror = { to = "acme/a" }', name="a")
            + rule('mirror = { to = "acme/b" }', name="b")
        ).mirror

        assert mirror is not None
        assert mirror.to == "acme/a"


class TestComposition:
    def test_rules_apply_in_their_order_and_the_last_one_to_set_wins(self) -> None:
        found = ruled(rule('sort = "price"', name="a") + rule('sort = "latency"', name="b"))

        assert found.rules == ("a", "b")
        assert found.request.provider.sort == "latency"

    def test_stop_ends_the_list_once_the_rule_applied(self) -> None:
        text = rule('sort = "price"', 'models = ["openai/*"]', name="a", rest="stop = true") + rule(
            'sort = "latency"', name="b"
        )

        assert ruled(text, GPT).rules == ("a",)
        assert ruled(text, "acme/a").rules == ("b",)

    def test_a_rule_that_is_not_enabled_does_nothing(self) -> None:
        found = ruled(rule('deny = "No."', rest="enabled = false"))

        assert found.rules == ()
        assert found.denial is None

    def test_a_rule_matches_what_the_rules_before_it_put_in(self) -> None:
        found = ruled(
            rule('replace_models = ["acme/a"]', 'models = ["openai/*"]', name="a")
            + rule('sort = "price"', 'models = ["openai/*"]', name="b")
            + rule('tighten = { only = ["acme"] }', 'models = ["acme/*"]', name="c")
            + rule('sort = "latency"', 'providers = ["acme"]', name="d"),
            GPT,
        )

        assert found.rules == ("a", "c", "d")

    def test_a_rule_is_applied_once_though_it_matches_what_it_put_in(self) -> None:
        found = ruled(rule('replace_models = ["openai/mini"]', 'models = ["openai/*"]'), GPT)

        assert found.request.models == ("openai/mini",)
        assert found.rules == ("one",)

    def test_the_record_tells_what_applied(self) -> None:
        assert ruled(rule('sort = "price"', 'models = ["x"]')).compact() == {}
        assert ruled(rule('replace_models = ["acme/a"]')).compact() == {
            "rules": ("one",),
            "models": ("acme/a",),
        }
