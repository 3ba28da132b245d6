"""C8's review: opens once, reminds, restricts, closes by itself; told, audited, and by its clock.

The organization is on Commerce Scale: 7 Admins and 15 Sales Reps are the most there is.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import delete, select, update

from reconcile.actor import Actor
from reconcile.catalog import Catalog
from reconcile.outward import reviews
from reconcile.policy.values import Refuse
from reconcile.roster import build_roster
from reconcile.services import Services
from reconcile.settling.beside import check_organization
from reconcile.settling.work import Ended, WorkReport, work_off
from reconcile.store import audit
from reconcile.store import reviews as store
from reconcile.store.reviews import Review
from reconcile.tables import events, members, notices, organizations
from tests.support.roster import add_member, add_members, add_organization
from tests.support.shop import with_catalog

START = datetime.now(UTC).replace(microsecond=0)
KIM = Actor("cli:kim", because="they sign next week")


class Story:
    """One organization, and the time that passes for it."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.now = START
        self.services = replace(services, clock=lambda: self.now)
        with self.services.sessions.begin() as session:
            add_organization(session, "org_1", plan="commerce_scale")
            add_member(session, "org_1", "olive", role="owner", seat_type=None)
        self.admins(8)

    def admins(self, count: int) -> None:
        """So many active Admins, as the host says."""
        with self.services.sessions.begin() as session:
            session.execute(delete(members).where(members.c.role == "admin"))
            add_members(session, "org_1", "admin", role="admin", active=count)

    def look(self) -> None:
        check_organization(self.services, "org_1", trigger="evt_1")

    def day(self, day: float) -> None:
        """So many days after the start; the clock's request comes due when its time is there."""
        self.now = START + timedelta(days=day)

    def tick(self) -> WorkReport:
        """A worker works the clock off, whenever it was due."""
        review = self.review()
        with self.services.sessions.begin() as session:
            session.execute(
                update(events)
                .where(events.c.work_key == f"review:{review.id}", events.c.state == "pending")
                .values(due_at=datetime.now(UTC))
            )
        return work_off(self.services, f"review:{review.id}")

    def review(self) -> Review:
        with self.services.sessions() as session:
            return store.page(session, limit=1)[0]

    def reviews(self) -> int:
        with self.services.sessions() as session:
            return len(store.page(session))

    def told(self) -> list[str]:
        with self.services.sessions() as session:
            found = select(notices.c.type).order_by(notices.c.created_at, notices.c.id)
            return list(session.scalars(found))

    def last_told(self, type_: str) -> Mapping[str, object]:
        with self.services.sessions() as session:
            wanted = select(notices.c.data).where(notices.c.type == type_)
            found = session.scalars(wanted.order_by(notices.c.created_at.desc())).first()
            assert found is not None
            return dict(found)

    def last_line(self) -> str:
        with self.services.sessions() as session:
            newest = select(notices.c.summary).order_by(notices.c.created_at.desc()).limit(1)
            return str(session.scalars(newest).one())

    def audited(self) -> list[tuple[str, str, str | None]]:
        with self.services.sessions() as session:
            return [
                (entry.action, entry.actor, entry.because)
                for entry in reversed(audit.page(session, organization_id="org_1"))
            ]

    def restricted(self) -> bool:
        with self.services.sessions() as session:
            return store.is_restricted(session, "org_1")


@pytest.fixture
def story(services: Services) -> Story:
    return Story(services)


def test_one_review_opens_and_the_owner_is_told(story: Story) -> None:
    """C8."""
    story.look()
    story.look()
    review = story.review()
    assert story.reviews() == 1
    assert review.kind == "enterprise"
    assert review.grace_ends_at == START + timedelta(days=30)
    assert review.detail["over"] == [{"seat_type": "admin", "active": 8, "hard_cap": 7}]
    assert story.told() == ["review.opened"], "the finding is not told a second time"
    assert story.last_told("review.opened") == {
        "review_id": review.id,
        "kind": "enterprise",
        "grace_ends_at": (START + timedelta(days=30)).isoformat(),
        "over": [{"seat_type": "admin", "active": 8, "hard_cap": 7}],
    }
    assert story.audited() == [("review.opened", "trueup", "evt_1")]
    assert not story.restricted()


def test_reminders_then_the_restriction_by_the_clock_alone(story: Story) -> None:
    story.look()
    seen: list[tuple[int, list[str]]] = []
    for day in range(33):
        before = len(story.told())
        story.day(day)
        assert story.tick().ended is Ended.POSTPONED
        seen.append((day, story.told()[before:]))
    assert [(day, told) for day, told in seen if told] == [
        (16, ["review.reminder"]),
        (23, ["review.reminder"]),
        (29, ["grace.ending"]),
        (30, ["organization.restricted"]),
    ]
    assert story.restricted()
    assert story.last_told("grace.ending")["days_left"] == 1
    assert story.audited()[1:] == [("organization.restricted", "trueup", "the grace is over")]


def test_the_request_is_put_off_from_step_to_step(story: Story) -> None:
    story.look()
    story.day(15.5)
    report = story.tick()
    assert report.again_at == START + timedelta(days=16)
    story.day(29.5)
    assert story.tick().again_at == START + timedelta(days=30)


def test_a_worker_that_was_away_for_weeks_sends_what_is_right_now(story: Story) -> None:
    story.look()
    story.day(25)
    story.tick()
    story.tick()
    assert story.told() == ["review.opened", "review.reminder"]
    assert story.last_told("review.reminder")["days_left"] == 5
    story.day(100)
    story.tick()
    story.tick()
    assert story.told() == ["review.opened", "review.reminder", "organization.restricted"]


def test_the_count_that_is_back_closes_it_and_lifts_the_restriction(story: Story) -> None:
    story.look()
    story.day(31)
    story.tick()
    assert story.restricted()
    story.admins(7)
    story.look()
    review = story.review()
    assert (review.closed_by, review.closed_because) == ("trueup", "the count is back")
    assert not story.restricted()
    assert set(story.told()[-2:]) == {"review.closed", "organization.unrestricted"}
    assert [action for action, _, _ in story.audited()][-2:] == [
        "review.closed",
        "organization.unrestricted",
    ]
    # Its clock sees that it is closed, and ends.
    assert story.tick().line == "closed by trueup: the count is back"


def test_the_clock_itself_sees_that_the_count_is_back(story: Story) -> None:
    """As where members are counted in the host's own tables and nobody tells."""
    story.look()
    story.admins(7)
    story.day(1)
    assert story.tick().ended is Ended.DONE
    assert story.review().closed_by == "trueup"
    assert story.told()[-1] == "review.closed"


def test_over_again_after_it_was_back_opens_another(story: Story) -> None:
    story.look()
    story.admins(7)
    story.look()
    story.day(2)
    story.admins(9)
    story.look()
    assert story.reviews() == 2
    assert story.review().grace_ends_at == START + timedelta(days=32)


def test_counts_that_cannot_be_read_restrict_nobody(story: Story) -> None:
    story.look()
    away = story.services.settings.model_copy(update={"roster_view": "host.nowhere"})
    story.services = replace(story.services, roster=build_roster(away, story.services.catalog))
    story.day(31)
    assert story.tick().again_at == story.now + timedelta(hours=1)
    assert not story.restricted()
    assert story.review().closed_at is None


def test_a_person_closes_it_and_it_does_not_come_back_while_it_lasts(story: Story) -> None:
    story.look()
    story.day(31)
    story.tick()
    closed = reviews.close_by_hand(story.services, story.review().id, KIM)
    assert isinstance(closed, Review)
    assert (closed.closed_by, closed.closed_because) == ("cli:kim", "they sign next week")
    assert not story.restricted()
    story.day(32)
    story.look()
    story.look()
    assert story.reviews() == 1
    # Another pool goes over as well: that is news.
    with story.services.sessions.begin() as session:
        add_members(session, "org_1", "sales_rep", role="sales_rep", active=16)
    story.look()
    assert story.reviews() == 2
    again = reviews.close_by_hand(story.services, closed.id, KIM)
    assert isinstance(again, Refuse)
    assert again.code == "review_closed"


def test_a_person_gives_more_time_and_reminders_come_anew(story: Story) -> None:
    story.look()
    story.day(31)
    story.tick()
    longer = reviews.extend(story.services, story.review().id, KIM, START + timedelta(days=50))
    assert isinstance(longer, Review)
    assert not story.restricted()
    assert set(story.told()[-2:]) == {"review.extended", "organization.unrestricted"}
    assert story.audited()[-2][:2] == ("review.extended", "cli:kim")
    told = len(story.told())
    for day in range(32, 52):
        story.day(day)
        story.tick()
    assert story.told()[told:] == [
        "review.reminder",
        "review.reminder",
        "grace.ending",
        "organization.restricted",
    ]
    assert story.restricted()
    ended = (START + timedelta(days=50)).date()
    assert story.last_line() == f"Growth is restricted: the grace ended {ended}."


@pytest.mark.parametrize("day", [-1, 10, 30, 400])
def test_more_time_is_more_time(story: Story, day: int) -> None:
    story.look()
    refused = reviews.extend(story.services, story.review().id, KIM, START + timedelta(days=day))
    assert isinstance(refused, Refuse)
    assert refused.code == "grace_not_longer"


def test_an_enterprise_plan_without_a_cap_closes_it(story: Story) -> None:
    story.look()
    catalog = story.services.catalog
    scale = catalog.plan("commerce_scale")
    uncapped = {
        name: replace(seat, hard_cap=None, included=50)
        for name, seat in scale.rules.seat_types.items()
    }
    enterprise = replace(
        scale, name="enterprise", rules=replace(scale.rules, plan="enterprise", seat_types=uncapped)
    )
    catalog = Catalog({**catalog.plans, "enterprise": enterprise})
    story.services = with_catalog(story.services, catalog)
    with story.services.sessions.begin() as session:
        session.execute(update(organizations).values(plan="enterprise"))
    story.look()
    assert story.review().closed_by == "trueup"


def test_a_review_that_is_not_there(story: Story) -> None:
    with pytest.raises(reviews.NoSuchReview):
        reviews.close_by_hand(story.services, 999, KIM)
    assert work_off(story.services, "review:999").ended is Ended.NOTHING_DUE
