"""``tollway migrate``: bring the database's tables up to date."""

from gateway.cli.database import Database
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import print_json, say
from gateway.cli.schema import bring_up_to_date


def migrate(*, config: Config = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Bring the database's tables up to date; safe to run at any time and by several at once."""
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        revision = bring_up_to_date(database.url)
    if as_json:
        print_json({"revision": revision})
    else:
        say(f"The tables are at revision {revision}.")
