"""`trueup listen`: take notices as a host application would, and show them. For trying out."""

from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import click
import orjson
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from backoffice.commands.explain import read_settings
from backoffice.local.network import LOOPBACK
from reconcile.settings import PREFIX

MOST_BYTES = 1_000_000
SILENCE_S = 10
HERE = (LOOPBACK, "localhost")


@click.command()
@click.option(
    "--port", type=click.IntRange(1, 65535),
    help="Where.  [default: where TRUEUP_HOST_WEBHOOK_URL points to, if that is this machine]",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Show each notice's body as it came.")
def listen(port: int | None, as_json: bool) -> None:
    """Take notices on this machine and show each one whose signature holds.

    Verified with TRUEUP_HOST_WEBHOOK_SECRETS; what does not hold is answered 401. Ctrl-C ends it.
    """
    settings = read_settings()
    secrets = [one.get_secret_value() for one in settings.host_webhook_secrets]
    if not secrets:
        raise click.UsageError(
            f"{PREFIX}HOST_WEBHOOK_SECRETS is not set: nothing could be verified"
        )
    port = port or _port_of(settings.host_webhook_url)
    shown: Callable[[bytes], str] = bytes.decode if as_json else in_a_line
    with ThreadingHTTPServer((LOOPBACK, port), _handler(secrets, shown)) as server:
        click.echo(f"listening for notices on http://{LOOPBACK}:{port}", err=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return


def _port_of(url: str) -> int:
    """The port that notices are sent to, when that is one of this machine."""
    sent_to = urlsplit(url)
    if sent_to.hostname not in HERE or not sent_to.port:
        raise click.UsageError("say --port: TRUEUP_HOST_WEBHOOK_URL names none of this machine")
    return sent_to.port


def in_a_line(body: bytes) -> str:
    """Return a notice's type, whose it is, and what it says."""
    notice = orjson.loads(body)
    data = notice["data"]
    return f"{notice['type']}  {data.get('organization_id') or '-'}  {data['summary']}"


def _handler(secrets: list[str], shown: Callable[[bytes], str]) -> type[BaseHTTPRequestHandler]:
    class Host(BaseHTTPRequestHandler):
        """Answers 2xx to what is signed, as the specification asks of a consumer."""

        timeout = SILENCE_S

        def do_POST(self) -> None:
            """Take one notice."""
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if 0 < length <= MOST_BYTES else b""
            if not any(_holds(secret, body, self.headers) for secret in secrets):
                self._answer(HTTPStatus.UNAUTHORIZED)
                return
            click.echo(shown(body))
            self._answer(HTTPStatus.NO_CONTENT)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            """Say nothing of requests: notices are what is shown."""

        def _answer(self, status: HTTPStatus) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    return Host


def _holds(secret: str, body: bytes, headers: object) -> bool:
    assert hasattr(headers, "items")
    try:
        Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    except (WebhookVerificationError, ValueError):
        return False
    return True
