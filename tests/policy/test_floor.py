"""The floor under any sequence of operations: a small model of one organization, played at random.

Activations, removals, people's changes and reconciliations are decided by the policy; their writes
land later, or are declined; meanwhile people edit the quantity in Stripe's dashboard and the host
application activates members without asking. Whatever the order:

- no write of ours lands below the active count;
- nobody becomes active without a seat that is in force, unless someone outside broke it before;
- what an outsider broke is raised back by the next reconciliation, if the plan lets it.
"""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconcile.policy.activation import Allow, Raise, capacity, decide_activation
from reconcile.policy.reconciliation import reconcile
from reconcile.policy.seat_change import ChangeFacts, Move, Wanted, decide_change
from reconcile.policy.values import Change, Keep, SeatFacts, SeatPolicy, Standing, Verdict
from tests.policy.factories import activation, rules, seat, subscription

POOLS = st.sampled_from(["base", "voice"])
STANDINGS = st.sampled_from(
    [Standing.LIVE, Standing.LIVE, Standing.TRIALING, Standing.PAST_DUE, Standing.CANCELING]
)


class Floor(RuleBasedStateMachine):
    """One organization with Base and Voice seats."""

    @initialize(
        policy=st.sampled_from([SeatPolicy.PURCHASED, SeatPolicy.FOLLOW]),
        restores=st.booleans(),
        lowers=st.sampled_from(["renewal", "now"]),
        auto_add=st.booleans(),
    )
    def found(self, policy: SeatPolicy, restores: bool, lowers: str, auto_add: bool) -> None:
        self.plan = rules(
            policy, restores_quantity=restores, follow_lowers=lowers, voice={"hard_cap": 9}
        )
        self.auto_add = auto_add
        self.standing = Standing.LIVE
        self.active = {"base": 2, "voice": 2}
        self.ours = {"base": 2, "voice": 2}
        self.stripe = {"base": 2, "voice": 2}
        self.in_flight: dict[str, int] = {}
        self.joins: str | None = None  # a member waiting for the raise in flight
        self.moves: tuple[Move, ...] = ()  # members moving with the change in flight
        self.outside: set[str] = set()  # pools that someone outside has touched

    def _seats(self) -> tuple[SeatFacts, ...]:
        return tuple(
            seat(
                self.active[pool],
                self.ours[pool],
                self.stripe[pool],
                seat_type=pool,
                auto_add=self.auto_add,
            )
            for pool in self.active
        )

    def _verdict(self) -> Verdict:
        return reconcile(
            subscription(
                *self._seats(),
                rules=self.plan,
                standing=self.standing,
                adjustment_in_flight=bool(self.in_flight),
            )
        )

    def _room(self, pool: str) -> int:
        room = capacity(self.ours[pool], self.stripe[pool], self.in_flight.get(pool))
        assert room is not None
        return room

    def _asks(self, pool: str, frees: str | None = None) -> object:
        return decide_activation(
            activation(
                self.active[pool],
                self._room(pool),
                rules=self.plan,
                takes=pool,
                frees=frees,
                arriving=sum(move.to_seat_type == pool for move in self.moves),
                most=max(self.ours[pool], self.stripe[pool], self.in_flight.get(pool, 0)),
                standing=self.standing,
                auto_add=self.auto_add,
                shortfall=self._verdict().block_growth,
                may_raise=frees is None and not self.in_flight,
            )
        )

    @rule(pool=POOLS)
    def activate(self, pool: str) -> None:
        outcome = self._asks(pool)
        if isinstance(outcome, Allow):
            self.active[pool] += 1
        elif isinstance(outcome, Raise):
            self.in_flight, self.joins = {pool: outcome.quantity}, pool

    @rule(pool=POOLS)
    def remove(self, pool: str) -> None:
        self.active[pool] = max(0, self.active[pool] - 1)

    @rule(pool=POOLS)
    def move_a_member(self, pool: str) -> None:
        other = "voice" if pool == "base" else "base"
        if self.active[other] and isinstance(self._asks(pool, frees=other), Allow):
            self.active[other] -= 1
            self.active[pool] += 1

    @rule(base=st.integers(0, 9), voice=st.integers(0, 9), moving=st.integers(0, 2))
    def a_person_changes_seats(self, base: int, voice: int, moving: int) -> None:
        moves = tuple(
            Move(member_id=f"mem_{n}", from_seat_type="base", to_seat_type="voice")
            for n in range(min(moving, self.active["base"]))
        )
        it = ChangeFacts(
            rules=self.plan,
            standing=self.standing,
            seats=self._seats(),
            interval="month",
            in_flight=bool(self.in_flight),
        )
        wanted = Wanted(quantities={"base": base, "voice": voice}, moves=moves)
        decision = decide_change(it, wanted)
        if isinstance(decision, Change):
            self.in_flight, self.moves = dict(decision.quantities), moves

    @rule()
    def reconciles(self) -> None:
        decision = self._verdict().decision
        if isinstance(decision, Change | Keep):
            self.ours |= decision.adopt
        if isinstance(decision, Change):
            self.in_flight = dict(decision.quantities)

    @precondition(lambda self: self.in_flight)
    @rule(declined=st.booleans())
    def the_write_lands(self, declined: bool) -> None:
        if not declined:
            for move in self.moves:
                if self.active[move.from_seat_type]:
                    self.active[move.from_seat_type] -= 1
                    self.active[move.to_seat_type] += 1
            for pool, quantity in self.in_flight.items():
                assert quantity >= self.active[pool], "a write below the floor"
                self.ours[pool] = self.stripe[pool] = quantity
        joins, self.in_flight, self.joins, self.moves = self.joins, {}, None, ()
        # The activation that asked for the raise is decided again, under the lock.
        if joins and not declined and isinstance(self._asks(joins), Allow):
            self.active[joins] += 1

    @precondition(lambda self: not self.in_flight)
    @rule(pool=POOLS, quantity=st.integers(0, 9))
    def someone_edits_the_dashboard(self, pool: str, quantity: int) -> None:
        self.stripe[pool] = quantity
        self.outside.add(pool)

    @precondition(lambda self: not self.in_flight)
    @rule(pool=POOLS)
    def the_host_activates_without_asking(self, pool: str) -> None:
        if self.active[pool] < 9:
            self.active[pool] += 1
            self.outside.add(pool)

    @rule(standing=STANDINGS)
    def stands_otherwise(self, standing: Standing) -> None:
        self.standing = standing

    @precondition(lambda self: not self.in_flight and self.outside)
    @rule()
    def settles(self) -> None:
        """Reconcile until nothing changes, on a subscription that may be written."""
        self.standing = Standing.LIVE
        for _ in range(3):
            self.reconciles()
            if self.in_flight:
                self.the_write_lands(declined=False)
        follows = self.plan.policy == SeatPolicy.FOLLOW
        for pool in self.active:
            assert self.ours[pool] == self.stripe[pool], "two truths after settling"
            # Without Auto-Add a buyer's pool that was full before is reported, not charged.
            if follows or self.auto_add:
                assert self.active[pool] <= self.stripe[pool]
        self.outside = {p for p in self.active if self.active[p] > self.stripe[p]}

    @invariant()
    def nobody_is_active_without_a_seat(self) -> None:
        for pool in getattr(self, "active", {}):
            if pool not in self.outside:
                assert self.active[pool] <= min(self.ours[pool], self.stripe[pool])


TestFloor = Floor.TestCase
TestFloor.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)


def test_the_model_would_notice_a_reduction_decided_without_looking() -> None:
    """The model's own check: a capacity that forgets what is in flight breaks the floor."""
    facts = activation(4, capacity(5, 5, 4))
    assert not isinstance(decide_activation(facts), Allow)
    assert isinstance(decide_activation(replace(facts, capacity=capacity(5, 5))), Allow)
