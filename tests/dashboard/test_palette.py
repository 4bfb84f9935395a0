import pytest

from dashboard.looks import OTHER_SLOT, PROVIDER_COLOURS
from dashboard.palette import slots_among
from dashboard.queries import OTHER

SEEN = [f"provider-{number:02}" for number in range(12)]


def test_a_provider_has_the_colour_of_its_rank_whoever_is_beside_it() -> None:
    everybody = slots_among(SEEN[:8], SEEN)

    assert [everybody[name] for name in SEEN[:8]] == list(range(8))
    assert slots_among([SEEN[4]], SEEN)[SEEN[4]] == 4
    assert slots_among([SEEN[10]], SEEN)[SEEN[10]] == 2


def test_of_two_that_share_a_colour_the_younger_gives_way() -> None:
    given = slots_among([SEEN[10], SEEN[2], SEEN[0]], SEEN)

    assert (given[SEEN[0]], given[SEEN[2]], given[SEEN[10]]) == (0, 2, 1)


def test_who_was_never_seen_takes_no_colour_of_somebody_who_was() -> None:
    given = slots_among(["a stranger", SEEN[0], SEEN[1]], SEEN)

    assert (given[SEEN[0]], given[SEEN[1]], given["a stranger"]) == (0, 1, 2)


@pytest.mark.parametrize("count", [1, 7, 8])
def test_no_two_of_up_to_eight_share_a_colour(count: int) -> None:
    given = slots_among([f"stranger-{number}" for number in range(count)], SEEN)

    own = [slot for name, slot in given.items() if name != OTHER]
    assert len(set(own)) == count
    assert OTHER_SLOT not in own


def test_more_than_eight_still_have_a_colour_each() -> None:
    given = slots_among([f"stranger-{number}" for number in range(40)], SEEN)

    assert all(0 <= slot < len(PROVIDER_COLOURS) for slot in given.values())


def test_other_is_grey() -> None:
    assert slots_among([], SEEN)[OTHER] == OTHER_SLOT
