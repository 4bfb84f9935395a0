"""Which code this is, for records and for the providers' logs."""

from importlib.metadata import PackageNotFoundError, version

try:
    CODE_VERSION = version("tollway")
except PackageNotFoundError:
    # Run from a tree that was never installed: the environment is half made.
    CODE_VERSION = "0+uninstalled"

USER_AGENT = f"tollway/{CODE_VERSION}"
