"""Every reason that the gateway gives is told in words."""

import pytest

from dashboard.words import exclusion
from gateway.routing.plan import ExclusionReason


@pytest.mark.parametrize("reason", ExclusionReason)
def test_every_reason_to_leave_an_endpoint_out_has_words(reason: ExclusionReason) -> None:
    assert exclusion(reason.value)
