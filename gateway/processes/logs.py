"""How the processes of Tollway log: one line an event, to standard error."""

import logging
import sys
from typing import TextIO

from gateway.domain.request_ids import request_id

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s%(during)s"


def set_up_logging(level: int = logging.INFO) -> None:
    """Send our own loggers' lines to standard error; libraries only speak when it matters."""
    root = logging.getLogger()
    root.handlers[:] = [make_handler(sys.stderr)]
    root.setLevel(logging.WARNING)
    logging.getLogger("tollway").setLevel(level)


def make_handler(stream: TextIO) -> logging.Handler:
    """Writes lines that name the request during which they were logged, if there is one."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(_name_the_request)
    return handler


def _name_the_request(record: logging.LogRecord) -> bool:
    during = request_id.get()
    record.during = f" [{during}]" if during else ""
    return True
