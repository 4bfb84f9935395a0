import pytest

from dashboard.looks import OTHER_SLOT, PROVIDER_COLOURS
from dashboard.palette import slots
from dashboard.queries import OTHER


def test_a_provider_keeps_its_colour_whoever_is_beside_it() -> None:
    everybody = slots(["openai", "anthropic", "google", "groq", "mistral"])

    assert slots(["groq"])["groq"] == everybody["groq"]
    assert slots(["openai", "zzz"])["openai"] == everybody["openai"]


@pytest.mark.parametrize("count", [1, 7, 8])
def test_no_two_of_up_to_eight_share_a_colour(count: int) -> None:
    given = slots([f"provider-{number}" for number in range(count)])

    own = [slot for name, slot in given.items() if name != OTHER]
    assert len(set(own)) == count
    assert OTHER_SLOT not in own


def test_more_than_eight_still_have_a_colour_each() -> None:
    given = slots([f"provider-{number}" for number in range(40)])

    assert all(0 <= slot < len(PROVIDER_COLOURS) for slot in given.values())


def test_other_is_grey() -> None:
    assert slots([])[OTHER] == OTHER_SLOT
