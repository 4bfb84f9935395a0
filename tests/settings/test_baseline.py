"""The baseline of the settings is an endpoint of anybody's, or the dearest, or a mistake."""

import pytest

from gateway.settings.baseline import find_baseline
from gateway.settings.load import SettingsError
from pricing.catalogue import make_catalogue
from pricing.savings import Baseline

NOTHING = make_catalogue(providers=[], endpoints=[], version="nothing")


def test_an_endpoint_of_a_provider_that_does_not_serve_can_be_the_baseline() -> None:
    found = find_baseline("openai/gpt-4o", NOTHING)

    assert found is not None
    assert found.endpoint is not None
    assert found.endpoint.id == "openai/gpt-4o"


def test_the_dearest_and_none_are_baselines_too() -> None:
    assert find_baseline("dearest", NOTHING) == Baseline()
    assert find_baseline(None, NOTHING) is None


def test_an_unknown_baseline_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"savings.baseline: 'openai/gpt-4oo'.*openai/gpt-4o"):
        find_baseline("openai/gpt-4oo", NOTHING)


def test_what_reports_alone_can_tell_is_refused_with_the_remedy() -> None:
    with pytest.raises(SettingsError, match="tollway savings --baseline previous-rules"):
        find_baseline("previous-rules", NOTHING)
