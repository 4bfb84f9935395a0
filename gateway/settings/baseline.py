"""From the setting of a baseline to what costs are compared with."""

from gateway.settings.load import SettingsError
from pricing.catalogue import Catalogue
from pricing.savings import DEAREST, PREVIOUS_RULES, Baseline, find_endpoint


def find_baseline(setting: str | None, offered: Catalogue) -> Baseline | None:
    """The baseline of ``[savings]``; it may be an endpoint of a provider that does not serve here.

    Raises:
        SettingsError: there is no such endpoint, or it is told by reports alone.
    """
    if setting is None:
        return None
    if setting == DEAREST:
        return Baseline()
    if setting == PREVIOUS_RULES:
        raise SettingsError(
            f"savings.baseline: {PREVIOUS_RULES!r} is not told while requests are answered, but "
            f"from their records: ask 'tollway savings --baseline {PREVIOUS_RULES}', and declare "
            f"an endpoint or {DEAREST!r} here, or nothing"
        )
    try:
        return Baseline(endpoint=find_endpoint(setting, offered))
    except LookupError as exc:
        raise SettingsError(f"savings.baseline: {exc.args[0]}") from exc
