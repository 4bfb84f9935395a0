"""Options that every command takes."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from gateway.settings.load import load_settings
from gateway.settings.values import Flags, Settings

Config = Annotated[
    Path | None, Parameter(name="--config", help="the tollway.toml to read; default: the one here")
]
DataDir = Annotated[
    Path | None, Parameter(name="--data-dir", help="where data lies; default: .tollway beside it")
]
AsJson = Annotated[bool, Parameter(name="--json", negative="", help="print JSON, for programs")]


def settings_of(config: Path | None, data_dir: Path | None) -> Settings:
    """The settings for a command that only needs to find the installation.

    Raises:
        SettingsError: the configuration is wrong.
    """
    return load_settings(Flags(config=config, data_dir=data_dir))
