"""`python -m sandbox --port N`: run the stand-in until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import traceback

from sandbox.api import build
from sandbox.control.doors import Doors
from sandbox.http.app import Application
from sandbox.http.server import Server
from sandbox.webhooks.delivery import DeliverySettings
from sandbox.world import World

TICK_S = 1.0


def main() -> int:
    """Serve; prints one line with the address once it listens. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="trueup sandbox", description="Run the stand-in for Stripe's API until told to stop."
    )
    parser.add_argument("--host", default="127.0.0.1", help="default: %(default)s")
    parser.add_argument(
        "--port", type=int, default=12111, help="default: %(default)s; 0: a free one"
    )
    parser.add_argument(
        "--retry-scale",
        type=float,
        default=1.0,
        help="share of Stripe's waits between webhook attempts (0 is at once)",
    )
    options = parser.parse_args()
    doors = Doors(World(), DeliverySettings(retry_scale=options.retry_scale))
    application = build(doors)
    server = Server(options.host, options.port, application.handle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    sys.stdout.write(f"sandbox listening on http://{options.host}:{server.port}\n")
    sys.stdout.flush()
    doors.start()
    stopped = threading.Event()
    threading.Thread(target=_tick, args=(application, stopped), daemon=True).start()
    with server:
        server.serve_forever(poll_interval=0.1)
    stopped.set()
    doors.stop()
    return 0


def _tick(application: Application, stopped: threading.Event) -> None:
    """Time passes also while nobody asks: periods renew, drafts are charged."""
    while not stopped.wait(TICK_S):
        try:
            application.tick()
        except Exception:  # noqa: BLE001 - one piece of work that fails must not stop the clock
            traceback.print_exc()


if __name__ == "__main__":
    sys.exit(main())
