"""The nightly run: finds what no webhook told, and settles only what differs.

Read Stripe's list in pages of 100 into `nightly_seen`, compare with what we hold by sets, settle
what differs, each by itself and under its own lock. A subscription that agrees costs no call.
Memory stays flat: a page, a batch and the counts of the report. The run's row says how far it
came, so that whoever takes over after a crash goes on from there. No rule is in here.
"""

import gc
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from datetime import date, timedelta

import structlog
from sqlalchemy.orm import Session

from reconcile import metrics, tracing
from reconcile.crash_points import CrashPoint, crash_point
from reconcile.database import exclusive
from reconcile.errors import Paused, classify
from reconcile.log import about
from reconcile.nights.pages import readable, subscription_pages
from reconcile.nights.patience import patiently
from reconcile.nights.report import Money, Progress, Report, Tell
from reconcile.nights.threads import each_in, threads
from reconcile.policy.values import Change, PlanRules
from reconcile.roster import RosterUnreadable, seatless_roles
from reconcile.services import Services
from reconcile.settling.beside import check_organization
from reconcile.settling.course import Settled
from reconcile.settling.own_findings import sync_roster
from reconcile.settling.settle import settle_subscription
from reconcile.store import nightly as store
from reconcile.store import pauses, runs
from reconcile.store.inbox import add_request
from reconcile.store.nightly import Difference
from reconcile.store.runs import Run

TASK = "nightly"
UNSETTLED = "trueup.nightly.unsettled"

# A dry run asks Stripe what a change would cost for so many of them.
MOST_PREVIEWS = 200
# Settling is mostly waiting for Stripe. Each takes up to three connections of a pool of ten.
SETTLING_AT_ONCE = 3
BATCH = 60
# What is not settled then is left to a worker and its retries.
SETTLE_TRIES = 2
# A host's database that restarts is back within seconds.
ROSTER_TRIES = 3
TELL_EVERY_S = 10.0

_PAGES, _SETTLING = "pages:", "settling:"

log = structlog.get_logger()


def run(
    services: Services,
    night: date,
    *,
    writes: bool | None = None,
    again: bool = False,
    tell: Tell | None = None,
) -> Report:
    """Do the night's run and return its report; done already, return the stored one.

    `writes` None is the setting's; without it nothing is written to Stripe. A night that was run
    dry is done again when it may write, and any night with `again`; while all writes are paused,
    it is dry. `writes` False is only a look: it leaves no row, so that it neither takes the place
    of the night nor brings the schedule to do one. While another process is at it, the report so
    far comes back with the state `elsewhere`. Raises what kept the run from finishing, with the
    run's row marked failed; the next call goes on where it stopped.
    """
    looks = writes is False
    writes = services.settings.nightly_writes if writes is None else writes
    with services.sessions() as session:
        # Everything is paused: the night only says what it would have done, and is done again.
        writes = writes and pauses.of_writes(session, None) is None
    with exclusive(services.engine, TASK) as mine:
        with services.sessions.begin() as session:
            known = runs.of_night(session, TASK, night) if looks else None
            if not looks:
                found = runs.begin(session, TASK, night, writes=writes)
                if mine and _starts_over(found, writes=writes, again=again):
                    found = runs.start_over(session, found.id, writes=writes)
            elif known is None or (mine and (again or known.state != "done")):
                found = runs.unkept(TASK, night, at=services.clock())
            else:
                found = known
        report = _stored(found)
        if not mine:
            report.state = "elsewhere"
            return report
        if found.state == "done":
            return report
        with structlog.contextvars.bound_contextvars(night=str(night), writes=writes):
            return _Night(services, found, report, tell or (lambda _: None)).run()


def _starts_over(found: Run, *, writes: bool, again: bool) -> bool:
    if again:
        return True
    # A night that has been written needs no dry run any more.
    return found.writes != writes and (writes or found.state != "done")


def _stored(found: Run) -> Report:
    if not found.report:
        return Report(night=found.night, writes=found.writes)
    report = Report.of_json(found.night, found.report)
    report.state = found.state
    return report


class _Night:
    """One run under way."""

    def __init__(self, services: Services, found: Run, report: Report, tell: Tell) -> None:
        self.services = services
        self.run_id = found.id
        self.cursor = found.cursor or ""
        self.report = report
        self.tell = tell
        self.trigger = f"{TASK}:{found.night.isoformat()}"
        self._told_at = time.monotonic()

    def run(self) -> Report:
        self.report.state, self.report.error = "running", None
        began, before = time.monotonic(), self.report.seconds
        try:
            self._forget_what_is_lost()
            if not self.cursor.startswith(_SETTLING):
                # A page is thousands of small objects: what was there before it need not be walked
                # by the garbage collector again for each (a fifth of the time of a page).
                gc.freeze()
                try:
                    self._read_pages()
                finally:
                    gc.unfreeze()
                self._compare()
            self._settle()
            self._add_up()
            self.report.state = "done"
        except Exception as error:
            self.report.state, self.report.error = "failed", classify(error).line
            raise
        finally:
            self.report.seconds = round(before + time.monotonic() - began, 3)
            if self.report.state != "running":
                self._finish()
        return self.report

    def _forget_what_is_lost(self) -> None:
        """Start over when the tables do not hold what the cursor says was read.

        They are unlogged: a crash of the database empties them.
        """
        with self.services.sessions.begin() as session:
            if self.cursor and store.rows_seen(session, self.run_id) == self.report.rows:
                log.info("the nightly run goes on", cursor=self.cursor)
                return
            store.clear(session)
        night, writes = self.report.night, self.report.writes
        self.cursor, self.report = "", Report(night=night, writes=writes)

    # --- reading

    def _read_pages(self) -> None:
        catalog = self.services.catalog
        prices = {price.id: bool(price.seat_type) for price in catalog.prices() if price.id}
        organization_key = self.services.settings.organization_metadata_key
        after = self.cursor.removeprefix(_PAGES) or None
        for page in subscription_pages(self.services, after):
            with self.services.sessions.begin() as session:
                self.report.rows += store.store_page(
                    session,
                    self.run_id,
                    readable(page, lambda unread: self.report.fail(str(unread))),
                    prices=prices,
                    organization_key=organization_key,
                )
                self.report.pages += 1
                self.report.subscriptions += len(page.raw)
                self._advance(session, f"{_PAGES}{page.last_id}")
            crash_point(CrashPoint.AFTER_PAGE)
            self._say(Progress("reading", self.report.subscriptions))

    # --- comparing

    def _compare(self) -> None:
        services = self.services
        plans = [plan.rules for plan in services.catalog.plans.values()]
        self.report.roster_problem = self._count_active(plans)
        with services.sessions.begin() as session:
            told = store.compare(
                session,
                self.run_id,
                plans,
                own_members=services.roster.view is None,
                counted=self.report.roster_problem is None,
                contracts_until=services.clock()
                + timedelta(days=services.settings.contract_notice_days),
                opened_by=self.trigger,
            )
            self.report.unknown, self.report.bereft = told.unknown.standing, told.bereft.standing
            roster = sync_roster(
                session,
                services,
                self.report.roster_problem,
                opened_by=self.trigger,
                whole=True,
            )
            for each in (told.unknown, told.bereft, roster):
                self.report.findings_opened += each.opened
                self.report.findings_closed += each.closed
            self.report.differing = store.differences_by_reason(session, self.run_id)
            self._advance(session, _SETTLING)
        log.info("the nightly run compared", **self._figures())

    def _count_active(self, plans: Iterable[PlanRules]) -> str | None:
        """Count everybody's active members; returns why the host's view cannot be read, or None."""
        try:
            patiently(
                self.services.settings,
                lambda: self._try_counting(plans),
                ROSTER_TRIES,
                passing=(RosterUnreadable,),
            )
        except RosterUnreadable as error:
            log.warning("compared without active counts", line=str(error))
            return error.detail
        return None

    def _try_counting(self, plans: Iterable[PlanRules]) -> None:
        roster = self.services.roster
        with self.services.sessions.begin() as session:
            store.forget_counts(session)
            if roster.view is None:
                seatless = {rules.plan: seatless_roles(rules) for rules in plans}
                store.count_members(session, self.run_id, seatless)
            else:
                store.copy_view_counts(session, self.run_id, roster.all_counts(session))

    # --- settling

    def _settle(self) -> None:
        """Settle what differs, some at a time; the cursor moves when a batch is through."""
        with threads(SETTLING_AT_ONCE) as some:
            while batch := self._batch():
                with closing(each_in(some, self._settle_one, batch)) as settling:
                    for ended in settling:
                        self._count(ended)
                crash_point(CrashPoint.AFTER_BATCH)
                with self.services.sessions.begin() as session:
                    self._advance(session, f"{_SETTLING}{batch[-1].work_key}")
                done = self.report.settled + self.report.postponed + self.report.failed
                self._say(Progress("settling", done, self.report.differences))

    def _batch(self) -> list[Difference]:
        after = self.cursor.removeprefix(_SETTLING)
        with self.services.sessions() as session:
            found = store.differences(session, self.run_id, after=after, limit=BATCH)
        # An organization is judged by its subscriptions: when all of those are through.
        return [each for each in found if each.scope == found[0].scope]

    def _settle_one(self, difference: Difference) -> "_Ended":
        """Settle one and return how it ended; whatever happens to it stays with it."""
        with about(work_key=difference.work_key), tracing.span("settle at night"):
            try:
                settled = patiently(
                    self.services.settings,
                    lambda: self._settled(difference.work_key),
                    SETTLE_TRIES,
                )
            except (Paused, RosterUnreadable) as held:
                self._leave_to_a_worker(difference, str(held))
                return _Ended(difference)
            except Exception as error:
                line = classify(error).line
                log.warning("not settled", line=line, exc_info=error)
                self._leave_to_a_worker(difference, line)
                return _Ended(difference, failure=line)
            if settled is None:
                self._leave_to_a_worker(difference, "another process has it")
            return _Ended(difference, settled=settled)

    def _settled(self, work_key: str) -> Settled | None:
        """Settle the work key under its lock; None when another process has it."""
        scope, _, named = work_key.partition(":")
        with exclusive(self.services.engine, work_key) as mine:
            if not mine:
                return None
            if scope == "org":
                return check_organization(self.services, named, trigger=self.trigger)
            return settle_subscription(
                self.services,
                named,
                trigger=self.trigger,
                writes=self.report.writes,
                previews=self.report.would_change < MOST_PREVIEWS,
                beside=False,
            )

    def _leave_to_a_worker(self, difference: Difference, line: str) -> None:
        """Nothing vanishes: what this run could not settle is worked off, with its retries."""
        if not self.report.writes:
            return
        with self.services.sessions.begin() as session:
            add_request(
                session,
                type=UNSETTLED,
                work_key=difference.work_key,
                payload={"found_by": self.trigger, "differs": difference.reason, "line": line},
                due_at=self.services.clock(),
            )

    def _count(self, ended: "_Ended") -> None:
        report, settled = self.report, ended.settled
        if ended.failure is not None:
            report.fail(ended.said(ended.failure))
            return
        if settled is None or settled.again_at is not None:
            report.postponed += 1
        else:
            report.settled += 1
        if settled is None:
            return
        report.findings_opened += settled.opened
        report.findings_closed += settled.closed
        report.say(ended.said(settled.line))
        if not report.writes and settled.verdict and isinstance(settled.verdict.decision, Change):
            report.would_change += 1
            if settled.would:
                report.would(*settled.would)
            elif report.would_change > MOST_PREVIEWS:
                report.not_previewed += 1

    # --- the run's row

    def _add_up(self) -> None:
        with self.services.sessions.begin() as session:
            self.report.adjustments = store.adjustments_by_state(session, self.trigger)
            self.report.moved = [
                Money(
                    currency=moved.currency,
                    direction="credited" if moved.total_minor < 0 else "charged",
                    total_minor=moved.total_minor,
                    adjustments=moved.adjustments,
                )
                for moved in store.money_moved(session, self.trigger)
            ]
            store.clear(session)

    def _advance(self, session: Session, cursor: str) -> None:
        self.cursor = cursor
        if self.run_id != runs.UNKEPT:
            runs.advance(session, self.run_id, cursor=cursor, report=self.report.as_json())

    def _finish(self) -> None:
        report = self.report
        if self.run_id != runs.UNKEPT:
            with self.services.sessions.begin() as session:
                runs.finish(session, self.run_id, state=report.state, report=report.as_json())
        metrics.RUNS.labels(task=TASK, state=report.state).inc()
        metrics.RUN_SECONDS.labels(task=TASK).observe(report.seconds)
        log.info("the nightly run ended", state=report.state, error=report.error, **self._figures())

    def _figures(self) -> dict[str, int]:
        names = ("pages", "subscriptions", "differences", "unknown", "bereft", "settled", "failed")
        return {name: getattr(self.report, name) for name in names}

    def _say(self, progress: Progress) -> None:
        self.tell(progress)
        if time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            log.info("the nightly run", phase=progress.phase, done=progress.done, of=progress.total)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one difference ended; neither settled nor failed: another has it, or a pause holds it."""

    difference: Difference
    settled: Settled | None = None
    failure: str | None = None

    def said(self, line: str) -> str:
        """Return the line with what it is about."""
        return f"{self.difference.work_key} ({self.difference.reason}): {line}"
