"""Where each promise about prices and cost is held by a test.

`PRICES`, `COST` and `DONE` are what was promised of them as a whole, `RULES` the validation rules
by their numbers (11 and 13 were never given), `COUNTED` the ways in which APIs count, `RESOLVING`
and `IMPORT` the steps of resolving a price and of importing a list. Re-rating, budgets, keys and
savings are held elsewhere.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.providers.test_usage_by_api import ROWS

ROOT = Path(__file__).parents[2]
CATALOGUE = "tests/pricing/test_catalogue.py"
CHANGING = "tests/prices/test_changing.py"
COSTS = "tests/pricing/test_cost.py"
DECIDING = "tests/pricing/test_deciding.py"
EXACT = "tests/pricing/test_money_is_exact.py"
GOLDEN = "tests/prices/test_golden_through_api.py"
IDENTITIES = "tests/pricing/test_identities.py"
IMPORTING = "tests/prices/test_import.py"
LAYER = "tests/pricing/test_operator_layer.py"
LISTS = "tests/pricing/test_price_lists.py"
ORACLE = "tests/pricing/test_oracle.py"
PIPELINE = "tests/pipeline/test_pipeline.py"
PRICE = "tests/pricing/test_price.py"
PROPOSALS = "tests/pricing/test_proposals.py"
RATIOS = "tests/execution/test_token_ratios.py"
REFUSED = "tests/prices/test_refused.py"
REGIONS = "tests/settings/test_regions.py"
SERVED = "tests/prices/test_as_served.py"
SETTLE = "tests/ledger/test_settle.py"
TABLES = "tests/pricing/test_tables.py"
WARNINGS = "tests/pricing/test_warnings.py"

IN_TABLES = f"{REFUSED}::test_a_table_that_is_shipped_is_refused_at_its_line_and_the_last_one_stays"
EVERYWHERE = (
    IN_TABLES,
    f"{REFUSED}::test_an_endpoint_of_the_settings_is_refused_at_its_line",
    f"{REFUSED}::test_the_admin_api_refuses_it_and_the_price_in_force_stays",
    f"{REFUSED}::test_the_command_line_refuses_it_and_the_price_in_force_stays",
)
WARNED = f"{WARNINGS}::test_what_looks_wrong_is_told_by_its_rule"

PRICES: dict[str, tuple[str, ...]] = {
    "effective dates are instants": (
        f"{PRICE}::test_a_price_changes_at_the_very_instant_of_its_version",
        f"{PRICE}::test_there_is_no_price_outside_all_versions",
    ),
    "size tiers": (
        f"{PRICE}::test_a_size_tier_begins_exactly_at_its_smallest_prompt",
        f"{PRICE}::test_the_largest_tier_that_a_prompt_reaches_holds",
    ),
    "schedules": (
        f"{PRICE}::test_a_window_is_half_open_and_knows_the_weekday",
        f"{PRICE}::test_the_first_matching_window_wins_and_unnamed_rates_are_inherited",
    ),
    "regions": (
        f"{PRICE}::test_a_region_multiplies_token_rates_and_an_unknown_region_changes_nothing",
        f"{REGIONS}::test_the_address_of_openai_tells_the_region",
        f"{REGIONS}::test_every_condition_is_scaled_and_fees_by_the_piece_are_not",
        f"{SERVED}::test_a_region_that_the_settings_fix_is_paid_once",
    ),
    "region and speed as served": (
        f"{SERVED}::test_an_answer_costs_what_the_speed_and_the_region_it_tells_cost",
        f"{SERVED}::test_what_was_recorded_costs_the_same_when_it_is_rated_again",
        f"{SERVED}::test_a_wished_speed_is_asked_for_and_paid_as_it_is_served",
    ),
    "service tiers as served": (
        f"{SETTLE}::test_the_price_is_that_of_the_tier_that_served",
        f"{PRICE}::test_a_service_tier_inherits_what_it_does_not_name",
        f"{PRICE}::test_a_service_tier_without_a_price_falls_back_to_the_standard_one_and_says_so",
    ),
    "unit prices": (
        f"{PRICE}::test_a_scaled_service_tier_leaves_fees_and_exceptions_alone",
        f"{GOLDEN}::test_a_raw_body_costs_what_was_worked_out_by_hand",
    ),
    "overrides": (f"{LAYER}::test_a_price_holds_from_its_moment_on_and_not_before",),
    "discounts": (
        f"{LAYER}::test_a_discount_takes_its_share_off_every_amount_and_condition",
        f"{LAYER}::test_a_discount_works_on_the_operators_own_price",
        f"{DECIDING}::test_what_stays_is_not_discounted_twice",
    ),
    "own endpoints": (
        f"{LAYER}::test_an_endpoint_of_the_operators_own_is_offered",
        f"{REGIONS}::test_an_endpoint_added_by_a_change_is_as_one_of_the_settings",
    ),
    "disabled endpoints": (f"{LAYER}::test_an_endpoint_is_switched_off_for_a_time",),
    "append-only, who, when, why": (
        f"{CHANGING}::test_the_admin_api_records_what_it_has_checked",
        f"{LAYER}::test_a_revoked_change_ends_when_it_is_revoked",
    ),
    "tables below": (f"{LAYER}::test_a_price_that_ends_gives_way_to_the_tables_again",),
    "every process within a second": (
        f"{CHANGING}::test_a_price_that_is_set_holds_in_every_worker_until_it_is_revoked",
    ),
    "requests in flight keep what they began with": (
        f"{PIPELINE}::test_the_snapshot_a_request_began_with_is_the_one_it_ends_with",
        "tests/pipeline/test_price_from_a_moment.py::"
        "test_records_from_the_moment_on_have_the_price_and_none_before",
    ),
    "commands": (
        f"{CHANGING}::test_a_price_that_is_set_holds_in_every_worker_until_it_is_revoked",
        f"{CHANGING}::test_a_dry_run_tells_and_changes_nothing",
        f"{IMPORTING}::test_a_list_is_proposed_and_holds_once_somebody_says_so",
        f"{IMPORTING}::test_the_check_tells_what_looks_wrong_and_fails_on_what_is",
        "tests/prices/test_showing.py::test_what_holds_is_shown_with_the_changes_that_made_it",
    ),
    "admin API": (
        f"{CHANGING}::test_the_admin_api_records_what_it_has_checked",
        f"{CHANGING}::test_a_wrong_wish_is_a_400_that_names_the_field",
    ),
}

COST: dict[str, tuple[str, ...]] = {
    "line by line": (f"{COSTS}::test_lines_add_up_exactly_to_a_total_of_twelve_decimals",),
    "status": (
        f"{COSTS}::test_doubts_about_the_price_show_in_the_status",
        f"{COSTS}::test_a_used_meter_without_any_rate_makes_the_cost_unknown_and_never_zero",
        f"{SETTLE}::test_usage_that_contradicts_itself_makes_the_cost_an_estimate",
    ),
    "reported costs and drift": (
        f"{COSTS}::test_what_the_provider_reports_beats_what_we_compute_and_both_are_kept",
        "tests/prices/test_correcting.py::test_costs_that_a_provider_told_are_compared_with_ours",
    ),
    "price version on every record": (
        f"{PIPELINE}::test_carries_the_cost_and_where_it_comes_from",
        f"{PRICE}::test_each_version_has_its_own_stable_name",
    ),
    "failed and cancelled attempts": (
        f"{SETTLE}::test_content_that_came_is_charged_whatever_happened_next",
        f"{SETTLE}::test_every_outcome_of_an_attempt_is_either_billed_or_not",
        f"{PIPELINE}::test_whose_caller_hangs_up_is_recorded_with_what_was_produced",
    ),
    "missing usage": (
        "tests/pipeline/test_token_ratios.py::"
        "test_a_plan_and_an_answer_without_usage_go_by_what_the_model_usually_counts",
        f"{RATIOS}::test_what_providers_count_moves_the_ratio_towards_what_was_seen",
        f"{RATIOS}::test_what_was_learned_outlives_the_worker_and_teaches_a_new_one",
    ),
    "priced by the endpoint that served": (
        f"{PIPELINE}::test_after_a_fallback_tells_of_both_attempts",
    ),
    "an unknown price is never 0": (
        f"{PIPELINE}::test_of_a_model_without_a_price_costs_null_and_never_zero",
        "tests/routing/test_filters.py::"
        "test_a_key_with_a_hard_budget_never_gets_an_unpriced_endpoint",
    ),
}

DONE: dict[str, tuple[str, ...]] = {
    "golden examples through the public API": (
        f"{GOLDEN}::test_a_raw_body_costs_what_was_worked_out_by_hand",
        f"{GOLDEN}::test_every_golden_example_has_a_raw_body",
    ),
    "sum of lines is the total": (f"{IDENTITIES}::test_the_lines_add_up_to_the_total",),
    "disjoint meters": (f"{IDENTITIES}::test_no_token_is_counted_twice",),
    "monotone in usage": (f"{IDENTITIES}::test_more_usage_never_costs_less",),
    "tier boundary": (f"{IDENTITIES}::test_a_size_tier_begins_with_its_first_token",),
    "schedule boundary": (
        f"{IDENTITIES}::test_a_window_holds_from_its_first_minute_to_before_its_last",
    ),
    "no floats": (
        f"{EXACT}::test_a_file_of_pricing_uses_no_floats",
        f"{EXACT}::test_no_file_of_the_gateway_makes_a_float_of_money",
        f"{EXACT}::test_in_the_dashboard_money_becomes_a_float_only_to_be_drawn",
        f"{EXACT}::test_every_amount_in_the_database_is_numeric_with_twelve_decimals",
    ),
    "oracle": (
        f"{ORACLE}::test_five_hundred_costs_agree_or_their_difference_was_reviewed",
        f"{ORACLE}::test_every_reviewed_difference_is_about_an_endpoint_that_is_shipped",
    ),
    "from T on, none before": (
        "tests/prices/test_correcting.py::"
        "test_a_price_holds_for_records_from_its_moment_on_and_for_none_before",
    ),
    "refused with place, value, remedy": EVERYWHERE,
    "the last good catalogue stays": (
        f"{REFUSED}::"
        "test_a_wrong_change_that_got_into_the_database_is_told_and_what_was_good_stays",
        "tests/rules/test_reload.py::test_a_file_of_rules_is_read_again_while_the_gateway_serves",
    ),
}

RULES: dict[str, tuple[str, ...]] = {
    "1": EVERYWHERE,
    "2": EVERYWHERE,
    "3": (WARNED,),
    "4": (WARNED,),
    "5": EVERYWHERE,
    "6": EVERYWHERE,
    "7": EVERYWHERE,
    "8": (*EVERYWHERE, f"{LAYER}::test_nothing_is_free_by_accident"),
    "9": EVERYWHERE,
    "10": EVERYWHERE,
    "12": (
        f"{PROPOSALS}::test_a_big_step_has_a_gate",
        f"{IMPORTING}::test_a_list_is_proposed_and_holds_once_somebody_says_so",
    ),
    "14": (
        f"{PROPOSALS}::test_a_slip_of_the_unit_shows_against_other_providers_of_the_model",
        f"{WARNINGS}::test_an_offer_far_off_the_others_of_its_model_may_be_a_slip_of_the_unit",
    ),
    "15": (
        IN_TABLES,
        f"{TABLES}::test_every_price_names_its_source_and_the_day_it_was_checked",
    ),
}

RESOLVING: dict[str, tuple[str, ...]] = {
    "version of the instant": (
        f"{SETTLE}::test_the_price_is_that_of_the_instant_the_attempt_began",
    ),
    "tiers by the true prompt": (
        f"{SETTLE}::test_the_price_is_that_of_the_true_prompt_and_not_of_the_estimate",
    ),
    "one price at every moment": (
        f"{LAYER}::test_whatever_is_changed_one_price_holds_at_every_moment",
    ),
    "caps and sorting by the same price": (
        "tests/routing/test_what_users_wanted.py::"
        "test_21_a_long_prompt_is_weighed_and_capped_at_the_price_of_its_tier",
        "tests/routing/test_what_users_wanted.py::"
        "test_21_a_service_tier_is_weighed_at_its_own_price",
    ),
    "unpriced last": (
        "tests/routing/test_order.py::"
        "test_sorting_puts_the_unknown_last_and_the_unpriced_after_all",
    ),
    "exact, rounded once": (f"{COSTS}::test_the_total_is_the_exact_sum_rounded_once",),
    "residue to the largest line": (
        f"{COSTS}::test_the_rounding_residue_goes_to_the_largest_line",
    ),
}

COUNTED: dict[str, tuple[str, ...]] = {
    "OpenAI chat and responses, Azure": ("openai-chat", "openai-responses", "azure-chat"),
    "Anthropic Messages": ("anthropic-messages", "anthropic-without-a-split"),
    "Bedrock Converse": ("bedrock-converse",),
    "Gemini native and Vertex": ("google-native", "google-vertex-native"),
    "Gemini, OpenAI-compatible": ("gemini-openai-compatible",),
    "xAI chat": ("xai-chat",),
    "xAI responses": ("xai-responses",),
    "DeepSeek": ("deepseek",),
    "Mistral and its like": (
        "mistral", "groq", "cerebras", "fireworks", "together", "moonshot", "zai", "novita",
        "deepinfra",
    ),
    "MiniMax": ("minimax-anthropic-flavour", "minimax-chat-flavour"),
    "Perplexity": ("perplexity",),
    "Cohere": ("cohere-v2", "cohere-compatible"),
    "OpenRouter": ("openrouter",),
}  # fmt: skip
"""By the API, the cases of `test_usage_by_api.py`. OpenAI's images and realtime are not served."""

IMPORT: dict[str, tuple[str, ...]] = {
    "read from files and addresses": (
        f"{LISTS}::test_every_list_says_the_same_of_gpt_4o",
        f"{IMPORTING}::test_what_cannot_be_imported_is_told_with_a_remedy",
    ),
    "proposed and never edited": (
        f"{IMPORTING}::test_a_list_is_proposed_and_holds_once_somebody_says_so",
        "tests/storage/test_proposals.py::"
        "test_a_proposal_is_decided_once_and_becomes_a_change_with_its_reason",
    ),
    "stale proposals": (f"{IMPORTING}::test_a_proposal_is_stale_once_the_price_changed_otherwise",),
    "long prompts": (
        f"{PROPOSALS}::test_prices_of_long_prompts_come_as_terms_that_our_rules_accept",
    ),
    "service tiers": (
        f"{LISTS}::test_a_list_says_what_a_service_tier_costs",
        f"{PROPOSALS}::test_a_service_tier_that_has_no_price_here_is_proposed_with_a_gate",
    ),
    "new endpoints": (
        f"{LISTS}::test_a_list_says_what_a_provider_offers",
        f"{IMPORTING}::test_an_offer_that_is_new_becomes_an_endpoint_once_somebody_names_it",
    ),
    "discounts are not mistaken for list prices": (
        f"{IMPORTING}::test_a_list_is_compared_with_what_is_listed_and_not_with_what_is_left_of_it",
    ),
    "stale checks are told": (WARNED,),
}


@pytest.mark.parametrize(
    "promises",
    [PRICES, COST, DONE, RULES, RESOLVING, IMPORT],
    ids=["prices", "cost", "done", "rules", "resolving", "import"],
)
def test_every_promise_has_its_tests(promises: Mapping[str, tuple[str, ...]]) -> None:
    for promise, names in promises.items():
        assert names, promise
        for name in names:
            file, _, function = name.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"def {function}\(", text), (promise, name)


def test_every_rule_that_refuses_is_tried_wherever_prices_come_from() -> None:
    text = (ROOT / REFUSED).read_text(encoding="utf-8")
    tried = {number for number in RULES if re.search(rf'^    "{number} ', text, re.MULTILINE)}

    assert set(RULES) == {str(number) for number in (*range(1, 11), 12, 14, 15)}
    assert {number for number, names in RULES.items() if IN_TABLES in names} == tried


def test_the_usage_of_every_api_has_its_case() -> None:
    cases = [case for named in COUNTED.values() for case in named]

    assert sorted(cases) == sorted(str(row.id) for row in ROWS)
