"""From the setting of a baseline to what costs are compared with."""

from gateway.settings.load import SettingsError
from pricing.catalogue import Catalogue, load_catalogue
from pricing.savings import DEAREST, Baseline


def find_baseline(setting: str | None, offered: Catalogue) -> Baseline | None:
    """The baseline of ``[savings]``; it may be an endpoint of a provider that does not serve here.

    Raises:
        SettingsError: there is no such endpoint.
    """
    if setting is None:
        return None
    if setting == DEAREST:
        return Baseline()
    endpoint = offered.endpoints_by_id.get(setting)
    if endpoint is None:
        shipped = load_catalogue()
        endpoint = shipped.endpoints_by_id.get(setting)
        if endpoint is None:
            near = [
                one.id for model in shipped.nearest(setting) for one in shipped.endpoints_of(model)
            ]
            hint = f"; near are {', '.join(near[:3])}" if near else ""
            raise SettingsError(
                f"savings.baseline: {setting!r} is no endpoint and not {DEAREST!r}{hint}"
            )
    return Baseline(endpoint=endpoint)
