"""From the request's models to the endpoints that could serve them, before anything is filtered."""

from collections.abc import Sequence

import msgspec

from gateway.routing.names import Target
from gateway.routing.plan import Exclusion, ExclusionReason
from pricing.catalogue import Catalogue
from pricing.endpoint import Endpoint


class Pool(msgspec.Struct, frozen=True, kw_only=True):
    """The endpoints of one of the request's models that no earlier one has brought already."""

    target: Target
    endpoints: tuple[Endpoint, ...]


def gather(
    targets: Sequence[Target], catalogue: Catalogue
) -> tuple[tuple[Pool, ...], list[Exclusion]]:
    """The pools in the order of the models, and the offers a pin leaves out.

    An endpoint is in one pool at most: the first whose name stands for it.
    """
    if len(targets) == 1 and targets[0].provider is None:
        return (Pool(target=targets[0], endpoints=targets[0].endpoints),), []
    pools: list[Pool] = []
    seen: set[str] = set()
    for target in targets:
        fresh = [e for e in target.endpoints if e.id not in seen]
        seen.update([endpoint.id for endpoint in fresh])
        is_whole = len(fresh) == len(target.endpoints)
        # The very tuple, by which what is known of it is found again.
        pools.append(Pool(target=target, endpoints=target.endpoints if is_whole else tuple(fresh)))
    left_out = {
        endpoint.id: target.provider
        for target in targets
        if target.provider is not None
        for endpoint in catalogue.endpoints_of(target.model)
        if endpoint.id not in seen
    }
    return tuple(pools), [
        Exclusion(
            endpoint=endpoint_id,
            reason=ExclusionReason.NOT_PINNED,
            detail=f"the model's name pins `{provider}`",
        )
        for endpoint_id, provider in left_out.items()
    ]
