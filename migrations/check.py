"""Says whether the migrations lead to the tables of the code: `python -m migrations.check`."""

import sys
import tempfile
from pathlib import Path

import migrations
from gateway.storage.embedded import EmbeddedPostgres


def main() -> int:
    """Migrate a fresh server and compare; 0 when nothing differs."""
    with tempfile.TemporaryDirectory(prefix="tollway-check-") as directory:
        server = EmbeddedPostgres(Path(directory))
        dsn = server.start()
        try:
            migrations.upgrade(dsn)
            differences = migrations.check(dsn)
        finally:
            server.stop()
    if differences is None:
        return 0
    sys.stderr.write(f"The tables have changed without a migration.\n{differences}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
