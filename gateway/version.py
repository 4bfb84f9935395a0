"""Which code this is, for records and for the providers' logs."""

from importlib.metadata import PackageNotFoundError, version


def _installed() -> str:
    try:
        return version("tollway")
    except PackageNotFoundError:
        # Run from a tree that was never installed: the environment is half made.
        return "0+uninstalled"


CODE_VERSION = _installed()

USER_AGENT = f"tollway/{CODE_VERSION}"
