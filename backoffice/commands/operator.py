"""What the commands of on-call share: filters, who acts, what is printed, how it is printed.

Two lines a row, ids whole and first, so that they can be copied at 80 columns; `--json` everywhere.
"""

import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, TypeVar

import click
import orjson

from backoffice.commands.explain import need, read_settings
from reconcile.actor import Actor
from reconcile.budget import Unbudgeted
from reconcile.operating.story import Step, Story
from reconcile.policy.values import Refuse
from reconcile.services import Services, build_services, open_services
from reconcile.settings import Settings
from reconcile.store.look import Filters, Place

WIDTH = 80
USUAL_LIMIT = 20
MOST_LIMIT = 1000

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
F = TypeVar("F", bound=Callable[..., Any])
Key = TypeVar("Key", str, int)


class Moment(click.ParamType[datetime]):
    """`2h`, `30m`, `3d` ago, or an ISO time; without a zone it is UTC."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the moment; fails with a usage error."""
        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        if match := re.fullmatch(r"(\d{1,6})([smhd])", text):
            return datetime.now(UTC) - timedelta(seconds=int(match[1]) * _UNITS[match[2]])
        try:
            found = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is neither `2h` nor an ISO time", param, ctx)
        return found if found.tzinfo else found.replace(tzinfo=UTC)


def filtering(*states: str) -> Callable[[F], F]:
    """Add the filters of a list to a command, as one `filters` and its page."""

    def decorated(command: F) -> F:
        options = [
            click.option("--state", type=click.Choice(states), help="Only in this state."),
            click.option("--type", "type_", help="Event type; kind of a finding or adjustment."),
            click.option("--fingerprint", help="The same mistake; `trueup status` names them."),
            click.option("--object", "object_id", help="Any id it names: evt_, in_, sub_, cus_."),
            click.option("--customer", "customer_id", help="Stripe's customer."),
            click.option("--organization", "organization_id", help="Your organization's id."),
            click.option("--subscription", "subscription_id", help="Stripe's subscription."),
            click.option("--since", type=Moment(), help="`2h` ago, or an ISO time."),
            click.option("--until", type=Moment(), help="As --since; itself not included."),
        ]
        for option in reversed(options):
            command = option(command)
        return command

    return decorated


def filters_of(given: Mapping[str, Any]) -> Filters:
    """Return the filters from a command's options."""
    named = {each.name for each in fields(Filters)}
    values = {("type" if name == "type_" else name): value for name, value in given.items()}
    return Filters(**{name: value for name, value in values.items() if name in named})


def paging(command: F) -> F:
    """Add a page's options to a command."""
    limit = click.IntRange(1, MOST_LIMIT)
    options = [
        click.option("--limit", type=limit, default=USUAL_LIMIT, show_default=True),
        click.option("--cursor", help="Go on after a page: what it printed last."),
        as_json_option,
    ]
    for option in reversed(options):
        command = option(command)
    return command


as_json_option = click.option("--json", "as_json", is_flag=True, help="Answer as JSON.")


def acting(command: F) -> F:
    """Add who acts and why to a command."""
    by = click.option(
        "--by", default=lambda: os.environ.get("USER", ""), help="Who does it.  [default: $USER]"
    )
    because = click.option("--because", default="", help="Why, for the audit trail.")
    return by(because(command))


def actor_of(by: str, because: str) -> Actor:
    """Return the person at the command line."""
    if not by.strip():
        raise click.UsageError("say who you are: --by NAME (or set $USER)")
    if not because.strip():
        raise click.UsageError("say why: --because TEXT")
    return Actor(f"cli:{by.strip()}", because=because.strip())


@contextmanager
def looking() -> Iterator[Services]:
    """Services to read with: the database, and no call to Stripe."""
    settings = read_settings()
    need(settings, "database_url")
    services = build_services(settings, Unbudgeted())
    try:
        yield services
    finally:
        services.close()


@contextmanager
def asking_stripe() -> Iterator[Services]:
    """Services that also call Stripe, within the budget that all processes share."""
    from reconcile import log  # noqa: PLC0415 - only what asks Stripe logs
    from worker.budget import SharedBudget  # noqa: PLC0415 - only what asks Stripe needs it

    settings = read_settings()
    need(settings, "database_url", "redis_url", "stripe_api_key")
    log.configure(quiet_at_a_terminal(settings))
    services = open_services(settings, SharedBudget(settings))
    try:
        yield services
    finally:
        services.close()


def quiet_at_a_terminal(settings: Settings) -> Settings:
    """The answer says what happened: lines for machines stay for cron, files and whoever asks."""
    if sys.stderr.isatty() and "log_level" not in settings.model_fields_set:
        return settings.model_copy(update={"log_level": "warning"})
    return settings


def place_of(cursor: str | None) -> Place | None:
    """Return the place a cursor names; a usage error for what is none."""
    if cursor is None:
        return None
    at, _, row_id = cursor.partition("~")
    try:
        return datetime.fromisoformat(at), row_id
    except ValueError:
        raise click.UsageError("--cursor is not one that a list has printed") from None


def cursor_to(at: datetime, row_id: str) -> str:
    """Return the cursor that `place_of` reads back."""
    return f"{at.isoformat()}~{row_id}"


def number_of(cursor: str | None) -> int | None:
    """Return the number that a cursor of numbered rows is."""
    if cursor is None:
        return None
    if not cursor.isdecimal():
        raise click.UsageError("--cursor is not one that a list has printed")
    return int(cursor)


def refused(refuse: Refuse) -> click.ClickException:
    """Return what to raise for a refusal: its line and the ways out, exit code 1."""
    ways = "".join(f"\n  - {each}" for each in refuse.remedies[:10])
    return click.ClickException(f"{refuse.message}{ways}")


def plain(value: object) -> Any:
    """Return dataclasses, values and times as plain JSON values; properties called `line` too."""
    if is_dataclass(value) and not isinstance(value, type):
        shown = {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        if "line" not in shown and isinstance(getattr(type(value), "line", None), property):
            shown["line"] = getattr(value, "line")  # noqa: B009 - known to be there, not to mypy
        return shown
    if isinstance(value, Mapping):
        return {str(name): plain(each) for name, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(each) for each in value]
    return value


def say_json(value: object) -> None:
    """Print it as JSON."""
    click.echo(orjson.dumps(plain(value), option=orjson.OPT_INDENT_2, default=str))


def page(
    rows: Sequence[Any],
    limit: int,
    as_json: bool,
    show: Callable[[Any], tuple[str, str]],
    cursor: Callable[[Any], str],
) -> None:
    """Print up to `limit` rows, two lines each, and how to see more of them."""
    shown, more = rows[:limit], len(rows) > limit
    following = cursor(shown[-1]) if more and shown else None
    if as_json:
        say_json({"data": shown, "next_cursor": following})
        return
    for row in shown:
        first, second = show(row)
        click.echo(first)
        click.echo(wrapped(second))
    if not shown:
        click.echo("nothing matches")
    if following:
        click.echo(f"more: --cursor {following}")


def wrapped(line: str, indent: str = "    ") -> str:
    """Return the line folded at the width, no word of it cut."""
    return textwrap.fill(
        line,
        WIDTH,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


def columns(rows: Sequence[Sequence[object]], indent: str = "") -> Iterator[str]:
    """Yield each row as a line: its first cell to the left, the others to the right, none cut."""
    widths = [max(map(len, map(str, cells))) for cells in zip(*rows, strict=True)]
    for name, *values in rows:
        cells = (f"{value!s:>{width}}" for value, width in zip(values, widths[1:], strict=True))
        yield indent + "  ".join((f"{name!s:<{widths[0]}}", *cells)).rstrip()


def clock(at: datetime | None) -> str:
    """Return `2026-11-22 06:12:01Z`: UTC, and says so; `--since` takes it as it is."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if at else "-"


def tell_of(
    noun: str, row_id: Key, find: Callable[[Services, Key], Story | None], as_json: bool
) -> None:
    """Print the story of one row; for one that is not there fail in a sentence."""
    with looking() as services:
        found = find(services, row_id)
    if found is None:
        raise click.ClickException(f"there is no {noun} {row_id}")
    say_json(found) if as_json else tell(found)


def tell(story: Story) -> None:
    """Print a story: what it is, then each step in its order."""
    click.echo(story.id)
    for name, value in story.about.items():
        if value not in (None, "", [], {}):
            click.echo(wrapped(f"{name:<15} {_brief(value)}", "  "))
    for _, alike in groupby(story.steps, key=_mistake):
        step, *more = alike
        click.echo(f"{clock(step.at):<20}  {step.what}")
        click.echo(wrapped(step.line))
        for told in _facts(step.facts):
            click.echo(wrapped(told, "      "))
        if more:
            click.echo(f"{clock(more[-1].at):<20}  {step.what}, {len(more)} more alike by then")
    for line in story.next:
        click.echo(f"next: {line}")


def _mistake(step: Step) -> object:
    """Return what tries that failed in a row for the same cause have in common."""
    return (step.what, step.facts["fingerprint"]) if "fingerprint" in step.facts else id(step)


def _facts(facts: Mapping[str, Any]) -> Iterable[str]:
    for name, value in facts.items():
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            for each in value:
                yield f"{name}: " + ", ".join(
                    f"{key} {_brief(one)}" for key, one in each.items() if one is not None
                )
        elif value not in (None, [], {}):
            yield f"{name}: {_brief(value)}"


def _brief(value: object) -> str:
    if isinstance(value, datetime):
        return clock(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_brief(each)}" for name, each in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_brief(each) for each in value)
    return str(value)
