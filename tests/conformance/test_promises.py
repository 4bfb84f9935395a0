"""Where each promise about routing is held by a test: users' complaints, and points of the list.

Numbers of `COMPLAINTS` are those of what users of such gateways complain about, numbers of `POINTS`
those of the acceptance checklist drawn from the five published APIs (the other points stand in
`test_checklist.py`), and `DECISIONS` is what must hold of recorded decisions.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WANTED = "tests/routing/test_what_users_wanted.py"
LIVED = "tests/pipeline/test_complaints.py"

COMPLAINTS: dict[str, tuple[str, ...]] = {
    "5": (
        f"{LIVED}::test_5_i_want_to_know_who_served_me_and_why_it_fell_back",
        "tests/routing/test_names.py::"
        "test_an_unknown_name_gets_up_to_three_nearest_and_is_never_guessed",
    ),
    "6": (f"{WANTED}::test_6_balancing_does_not_throw_the_prompt_cache_away",),
    "7": (f"{WANTED}::test_7_a_warm_cache_does_not_keep_a_request_at_an_endpoint_that_is_down",),
    "8": (
        f"{WANTED}::test_8_only_is_a_promise_and_order_a_preference",
        f"{WANTED}::test_8_a_pin_that_nobody_meets_is_told_and_nothing_dearer_is_used",
    ),
    "9": (
        f"{WANTED}::test_9_parameters_that_must_hold_exclude_who_is_not_known_to_support_them",
        "tests/pipeline/test_pipeline.py::test_says_which_parameters_were_dropped",
    ),
    "10": (
        f"{LIVED}::"
        "test_10_i_want_a_rate_limit_to_move_on_at_once_and_to_be_left_alone_until_it_ends",
        f"{LIVED}::test_10_i_want_the_smallest_retry_after_when_all_are_limited",
    ),
    "11": (f"{LIVED}::test_11_i_want_retries_not_to_multiply",),
    "12": (
        f"{LIVED}::"
        "test_12_i_want_a_provider_that_refuses_our_account_to_be_replaced_and_left_alone",
    ),
    "13": (
        f"{WANTED}::test_13_what_auto_chose_falls_back_like_anything_else",
        f"{LIVED}::test_13_i_want_every_kind_of_request_retried_elsewhere_in_the_same_way",
    ),
    "15": (
        f"{WANTED}::test_15_no_other_model_than_those_asked_for_is_ever_used",
        f"{WANTED}::test_15_every_hop_is_checked_for_what_the_request_needs",
    ),
    "16": (
        f"{WANTED}::test_16_a_prompt_that_is_too_long_goes_to_the_model_with_the_larger_window",
        f"{WANTED}::test_16_when_the_estimate_was_too_low_the_larger_window_is_next_in_line",
    ),
    "17": (
        f"{WANTED}::test_17_a_request_never_costs_more_than_its_caller_allows",
        f"{WANTED}::test_17_the_cheapest_healthy_endpoint_first_and_ties_always_the_same_way",
        f"{WANTED}::test_17_what_counts_is_the_cost_of_this_very_request",
    ),
    "21": (
        f"{WANTED}::test_21_a_long_prompt_is_weighed_and_capped_at_the_price_of_its_tier",
        f"{WANTED}::test_21_a_service_tier_is_weighed_at_its_own_price",
    ),
    "24": (
        f"{LIVED}::test_24_i_want_new_rules_without_losing_what_is_known_of_limits",
        "tests/rules/test_reload.py::test_a_file_of_rules_is_read_again_while_the_gateway_serves",
    ),
}

POINTS: dict[str, tuple[str, ...]] = {
    "6": (
        "tests/api/test_dialects.py::test_flat_and_nested_preferences_may_agree_and_not_contradict",
        "tests/routing/test_filters.py::test_what_does_not_fit_is_excluded_with_its_reason",
        "tests/routing/test_filters.py::test_a_refusal_counts_reasons_and_says_what_would_help",
        "tests/chat/test_flat_preferences.py::test_every_flat_preference_is_read",
    ),
    "7": (
        "tests/routing/test_order.py::test_order_comes_first_and_the_others_follow_by_price",
        "tests/routing/test_order.py::test_order_without_fallbacks_is_a_closed_list",
        "tests/routing/test_order.py::test_without_fallbacks_the_first_endpoint_of_each_model_remains",
        "tests/routing/test_providers_named.py::test_a_pin_to_nothing_is_an_error_and_never_no_pin",
    ),
    "8": (
        "tests/routing/test_several_models.py::test_a_sort_is_within_each_model_or_across_all",
        "tests/routing/test_order.py::"
        "test_sorting_puts_the_unknown_last_and_the_unpriced_after_all",
        "tests/routing/test_order.py::test_variants_sort",
        "tests/routing/test_filters.py::test_free_means_free",
    ),
    "9": (
        "tests/routing/test_order.py::test_the_first_draw_follows_one_over_price_squared",
        "tests/routing/test_order.py::"
        "test_recent_outages_come_after_the_stable_and_the_unpriced_last",
        "tests/pipeline/test_pipeline.py::test_its_outages_order_the_next_request_differently",
    ),
    "10": (
        "tests/routing/test_speed_wishes.py::"
        "test_a_missed_preference_moves_to_the_end_and_excludes_nobody",
        "tests/routing/test_speed_wishes.py::test_every_percentile_given_must_hold",
    ),
    "11": (
        "tests/routing/test_auto.py::test_auto_chooses_only_what_is_known_to_do_what_is_asked",
        "tests/routing/test_auto.py::test_an_empty_choice_says_why_with_counts",
        f"{WANTED}::test_an_effort_with_auto_means_a_model_that_reasons",
    ),
    "19": (
        "tests/chat/test_decode.py::test_headers_switch_fallbacks_off_and_name_the_session",
        "tests/routing/test_affinity.py::test_affinity_never_blocks_failover",
        "tests/pipeline/test_experience.py::"
        "test_a_conversation_moves_to_whoever_answered_it_after_a_failure",
    ),
}

DECISIONS: dict[str, tuple[str, ...]] = {
    "probabilities sum to 1": (
        "tests/routing/test_decision_log.py::test_probabilities_add_up_and_split_by_model",
    ),
    "chi-square of draws, and a wrong probability is caught": (
        "tests/routing/test_decision_log.py::"
        "test_draws_agree_with_the_probabilities_logged_and_not_with_wrong_ones",
        "tests/routing/test_order.py::test_a_wrong_probability_is_caught_by_the_same_test",
    ),
    "seeds replay every draw": (
        "tests/routing/test_decision_log.py::test_seeds_replay_every_draw",
        "tests/routing/rules/test_splits.py::"
        "test_a_draw_of_a_request_can_be_made_again_from_the_recorded_seed",
    ),
    "the policy judged by its own log": (
        "tests/routing/test_decision_log.py::"
        "test_judging_the_policy_by_its_own_log_returns_what_was_seen",
    ),
    "order again from the database": (
        "tests/processes/test_decisions.py::"
        "test_ordering_a_record_of_the_database_again_gives_the_stored_order",
    ),
}


@pytest.mark.parametrize(
    "promises", [COMPLAINTS, POINTS, DECISIONS], ids=["complaints", "points", "decisions"]
)
def test_every_promise_has_its_tests(promises: Mapping[str, tuple[str, ...]]) -> None:
    for promise, names in promises.items():
        assert names, promise
        for name in names:
            file, _, function = name.partition("::")
            text = (ROOT / file).read_text(encoding="utf-8")
            assert re.search(rf"def {function}\(", text), (promise, name)


def test_no_promise_is_forgotten() -> None:
    assert set(COMPLAINTS) == {str(n) for n in (*range(5, 14), 15, 16, 17, 21, 24)}
    assert set(POINTS) == {"6", "7", "8", "9", "10", "11", "19"}
