"""`python -m sandbox --port N`: run the stand-in until it is told to stop."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from sandbox.api import build
from sandbox.server import Server


def main() -> int:
    """Serve; prints one line with the address once it listens. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="sandbox", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (loopback)")
    parser.add_argument("--port", type=int, default=12111, help="0 picks a free port")
    options = parser.parse_args()
    application = build()
    server = Server(options.host, options.port, application.handle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    sys.stdout.write(f"sandbox listening on http://{options.host}:{server.port}\n")
    sys.stdout.flush()
    with server:
        server.serve_forever(poll_interval=0.1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
