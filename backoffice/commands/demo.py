"""`trueup demo`: the whole story on this machine, with checks at the end."""

import os
import signal
import sys

import click

from backoffice.commands.explain import read_settings


@click.command()
@click.option("--keep", is_flag=True, help="Leave it running at the end (or KEEP=1).")
def demo(keep: bool) -> None:
    """Play the whole story on this machine and check it: exit code 1 when a check fails.

    Everything is started as separate processes, the sandbox in Stripe's place. Nothing is left
    behind; with --keep it stays up until Ctrl-C and says how to look around.
    """
    from backoffice.demo.run import main  # noqa: PLC0415 - only this command needs all of it

    # Ended from outside, it still stops what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    sys.exit(main(read_settings(), keep=keep or os.environ.get("KEEP", "") not in ("", "0")))
