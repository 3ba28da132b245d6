"""The `trueup` command: a table of subcommands, each loaded only when it is the one that runs.

No work is done in here. A mistake of the person at the keyboard ends in one sentence and an exit
code; only a defect of ours shows a traceback. Exit codes: 0 all well, 1 something is wrong, 2 the
command was misused.
"""

import os
import sys
import traceback
from importlib import import_module
from types import TracebackType

import click

from reconcile import garbage, scrub

# name -> (module:command, what it does)
COMMANDS = {
    "up": ("backoffice.commands.up:up", "Run everything on this machine, servers included."),
    "receiver": ("backoffice.commands.run:receiver", "Run the public door for Stripe's webhooks."),
    "api": ("backoffice.commands.run:api", "Run the JSON API for the host application."),
    "worker": ("backoffice.commands.run:worker", "Run one worker; start as many as you need."),
    "relay": ("backoffice.commands.run:relay", "Run the relay that hints the queue."),
    "schedule": ("backoffice.commands.run:schedule", "Run the clock for nightly work."),
    "sandbox": ("backoffice.commands.run:sandbox", "Run the stand-in for Stripe's API."),
    "listen": ("backoffice.commands.listen:listen", "Take notices and show them, for trying out."),
    "nightly": (
        "backoffice.commands.nightly:nightly_command",
        "Compare Stripe with the members, once.",
    ),
    "status": ("backoffice.commands.status:status", "Show how everything stands, on one screen."),
    "events": ("backoffice.commands.events:events", "Find, read, requeue and discard events."),
    "jobs": ("backoffice.commands.jobs:jobs", "Show what is queued, running or held."),
    "adjustments": (
        "backoffice.commands.adjustments:adjustments",
        "Find and read the changes written to Stripe.",
    ),
    "findings": ("backoffice.commands.findings:findings", "Find and read what is wrong."),
    "notices": (
        "backoffice.commands.notices:notices",
        "Find and read what your application was told.",
    ),
    "reviews": ("backoffice.commands.reviews:reviews", "Find reviews; close one, or give it time."),
    "organizations": (
        "backoffice.commands.organizations:organizations",
        "See how an organization stands.",
    ),
    "reconcile": (
        "backoffice.commands.reconcile:reconcile",
        "Explain one decision, or carry it out now.",
    ),
    "pause": ("backoffice.commands.pause:pause", "Hold work back; nothing is lost."),
    "resume": ("backoffice.commands.pause:resume", "End a pause; what it held is due at once."),
    "catch-up": (
        "backoffice.commands.catch_up:catch_up",
        "Bring everything current after an outage.",
    ),
    "token": ("backoffice.commands.token:token", "Make, list and revoke tokens of the API."),
    "migrate": ("backoffice.commands.migrate:migrate", "Bring the database up to date."),
    "import": (
        "backoffice.commands.roster:import_roster",
        "Import members from CSV or JSON Lines.",
    ),
    "doctor": ("backoffice.commands.doctor:doctor", "Check Stripe, database, queue and settings."),
    "demo": ("backoffice.commands.demo:demo", "Play the whole story on this machine and check it."),
}


class Subcommands(click.Group):
    """Lists the table without importing what is in it, and turns known errors into a sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, in the table's order."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported now."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, from the table."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, what) for name, (_, what) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; errors that a person can act on lose their traceback."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            # It may quote what was typed; nobody has been shown it yet.
            error.message = scrub.words(error.message)  # type: ignore[misc] # final for readers
            raise
        except Exception as error:
            sentence = import_module("backoffice.commands.explain").explain(error)
            if sentence is None:
                raise
            raise click.ClickException(scrub.words(sentence)) from error


@click.group(cls=Subcommands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="trueup", prog_name="trueup")
def trueup() -> None:
    """Keep Stripe seat billing true: quantities that agree with the active members.

    Settings are TRUEUP_... variables, or files named by TRUEUP_..._FILE.
    """


def main() -> None:
    """Entry point of the installed script."""
    garbage.look_seldom()
    sys.excepthook = _show_traceback
    # The library's own rule is the terminal alone; where it is silent (None), that decides.
    plain = bool(os.environ.get("NO_COLOR"))
    sys.exit(trueup(prog_name="trueup", color=False if plain else None))


def _show_traceback(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """A defect's traceback may be pasted anywhere, so it holds no secret."""
    click.echo(scrub.words("".join(traceback.format_exception(kind, error, trace))), err=True)
