"""The simulator as a process beside others, told by a JSON line on stdin where to listen."""

import sys

import msgspec

from gateway.simulator.running import run


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """Where to listen."""

    host: str
    port: int


def main() -> None:
    """Serve until standard input ends, which it does when the parent is gone."""
    orders = msgspec.json.decode(sys.stdin.buffer.readline(), type=Orders)
    run(orders.host, orders.port, until_stdin_closes=True)


if __name__ == "__main__":
    main()
