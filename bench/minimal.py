"""The peer of `bench.ingest`: verify and enqueue, store nothing. What most tutorials end with.

As quick as it can be made without changing what it is: it verifies without building SDK objects,
its Redis connections are pooled, and it runs under the same server as ours.
"""

import os
import sys
from typing import TYPE_CHECKING

from flask import Flask, request
from granian.constants import Interfaces
from granian.log import LogLevels
from granian.server import Server
from redis import Redis
from rq import Queue
from stripe import SignatureVerificationError, WebhookSignature

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


def build_app() -> Flask:
    """Return the receiver; the secret and the queue's url come from the environment."""
    app = Flask(__name__)
    secret = os.environ["MINIMAL_SECRET"]
    queue = Queue("webhooks", connection=Redis.from_url(os.environ["MINIMAL_REDIS_URL"]))

    @app.post("/webhooks/stripe")
    def receive() -> "ResponseReturnValue":
        body = request.get_data()
        header = request.headers.get("Stripe-Signature")
        try:
            WebhookSignature.verify_header(body, header, secret, tolerance=300)
        except (SignatureVerificationError, ValueError):
            return "", 400
        queue.enqueue("bench.minimal.work", body.decode())
        return "", 200

    return app


def work(body: str) -> None:
    """Stand in for the job; the benchmark runs no worker."""
    del body


if __name__ == "__main__":
    Server(
        "bench.minimal:build_app",
        factory=True,
        address="127.0.0.1",
        port=int(sys.argv[1]),
        interface=Interfaces.WSGI,
        workers=int(sys.argv[2]),
        blocking_threads=int(sys.argv[3]),
        log_level=LogLevels.error,
    ).serve()
