"""Arguments that are no text are refused with their place, before anything is begun."""

import subprocess
import sys
from pathlib import Path

from tests.installation import ROOT, clean_environment


def test_an_argument_that_is_no_text_is_named(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "keys", "create", b"k\xff"],
        cwd=ROOT,
        env=clean_environment(tmp_path),
        capture_output=True,
        check=False,
    )

    assert done.returncode == 2
    assert done.stderr.decode() == ("tollway: argument 3 is not UTF-8: 'k\\udcff'; correct it\n")
