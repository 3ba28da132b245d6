"""The project's own processes, as commands: what each is called, how it starts, when it is up."""

import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace

from backoffice.local.network import LOOPBACK, accepts, answers_http
from backoffice.local.processes import Command
from backoffice.local.servers import Servers
from reconcile.settings import PREFIX

# A worker finishes its job before it goes; Stripe may take its whole time-out.
WORKER_STOP_TIMEOUT_S = 40.0


def environment(servers: Servers, **settings: str) -> dict[str, str]:
    """The caller's environment with the servers' urls and these settings, by their plain names."""
    ours = {"database_url": servers.database_url, "redis_url": servers.redis_url} | settings
    named = {f"{PREFIX}{name.upper()}": value for name, value in ours.items()}
    # A file named for a setting that is given here would be a second opinion.
    inherited = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in named}
    return inherited | named


def exports(env: Mapping[str, str]) -> list[str]:
    """Shell lines that point another shell's `trueup` at these processes' installation.

    What the caller's own environment says already is left out: secrets that were given stay there.
    """
    ours = {k: v for k, v in env.items() if k.startswith(PREFIX) and os.environ.get(k) != v}
    return [f"export {name}={shlex.quote(value)}" for name, value in ours.items()]


def listed(shown: Mapping[str, str]) -> list[str]:
    """Lines of names and what belongs to them, none folded at a terminal's width."""
    width = max(map(len, shown))
    return [f"  {name:<{width}}  {what}" for name, what in shown.items()]


def receiver(env: Mapping[str, str], port: int) -> Command:
    """The public door on a loopback port."""
    return replace(
        _command("receiver", env, "--port", str(port)),
        ready=lambda: answers_http(port, "/healthz"),
    )


def api(env: Mapping[str, str], port: int) -> Command:
    """The host application's door on a loopback port."""
    return replace(
        _command("api", env, "--port", str(port)),
        ready=lambda: answers_http(port, "/healthz"),
        stop_timeout_s=WORKER_STOP_TIMEOUT_S,
    )


def worker(env: Mapping[str, str], name: str = "worker") -> Command:
    """One worker; several need different names."""
    return replace(_command("worker", env), name=name, stop_timeout_s=WORKER_STOP_TIMEOUT_S)


def relay(env: Mapping[str, str]) -> Command:
    """What hints the queue for every row that is due."""
    return _command("relay", env)


def schedule(env: Mapping[str, str]) -> Command:
    """What starts the nightly run, the gap audit and the pruning."""
    return _command("schedule", env)


def listen(env: Mapping[str, str], port: int) -> Command:
    """A host application that takes notices and shows them."""
    return replace(_command("listen", env, "--port", str(port)), ready=lambda: accepts(port))


def sandbox(env: Mapping[str, str], port: int, *options: str) -> Command:
    """The stand-in for Stripe on a loopback port."""
    return replace(
        _command("sandbox", env, "--port", str(port), *options), ready=lambda: accepts(port)
    )


def url(port: int) -> str:
    """The base url of a process on that port."""
    return f"http://{LOOPBACK}:{port}"


def _command(subcommand: str, env: Mapping[str, str], *arguments: str) -> Command:
    argv = (sys.executable, "-m", "backoffice", subcommand, *arguments)
    return Command(name=subcommand, argv=argv, env=env)
