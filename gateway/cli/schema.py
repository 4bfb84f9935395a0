"""The database's tables and its reader role, brought to what this version needs."""

import migrations
from gateway.processes.data_directory import DataDirectory
from gateway.settings.values import Settings
from gateway.storage.roles import ensure_reader, reader_password


def bring_up_to_date(database_url: str) -> str:
    """Run the migrations that are missing; returns the revision."""
    migrations.upgrade(database_url)
    return migrations.current(database_url) or "none"


def reader_url(database_url: str, settings: Settings) -> str:
    """The address for the dashboard: a role that can read views and nothing else."""
    secret = DataDirectory(settings.data_dir).pepper(settings.secret)
    return ensure_reader(database_url, reader_password(secret))
