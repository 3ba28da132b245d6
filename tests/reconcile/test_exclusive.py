"""A named lock and a signal at the wrong moment: whoever is interrupted leaves no lock behind."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event, text

from reconcile import database
from reconcile.database import build_engine, exclusive
from reconcile.errors import ShuttingDown
from reconcile.settings import Settings


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = build_engine(str(settings.database_url), pool_size=1)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("during", ["pg_try_advisory_lock", "pg_advisory_unlock"])
@pytest.mark.parametrize("moment", ["before_cursor_execute", "after_cursor_execute"])
def test_interrupted_in_the_statement(
    engine: Engine, settings: Settings, during: str, moment: str
) -> None:
    def interrupt(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if during in statement:
            event.remove(engine, moment, interrupt)
            raise ShuttingDown

    event.listen(engine, moment, interrupt)
    with pytest.raises(ShuttingDown), exclusive(engine, "sub:sub_1"):
        pass
    assert_free(settings)


def test_interrupted_between_the_answer_and_its_use(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(answer: object) -> bool:
        assert answer is True
        raise ShuttingDown

    monkeypatch.setattr(database, "bool", interrupt, raising=False)
    with pytest.raises(ShuttingDown), exclusive(engine, "sub:sub_1"):
        pass
    monkeypatch.undo()
    assert_free(settings)


@pytest.mark.parametrize("number", [1, 2])
def test_interrupted_between_two_steps(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Before the lock is asked for, and between the block's end and the statement that unlocks."""
    left = iter(range(1, 3))

    def interrupt(statement: str) -> object:
        if next(left, None) == number:
            raise ShuttingDown
        return text(statement)

    monkeypatch.setattr(database, "text", interrupt)
    with pytest.raises(ShuttingDown), exclusive(engine, "sub:sub_1"):
        pass
    monkeypatch.undo()
    assert_free(settings)


def assert_free(settings: Settings) -> None:
    """The connection went back to the pool: were the lock still on it, nobody would get it."""
    other = build_engine(str(settings.database_url), pool_size=1)
    with exclusive(other, "sub:sub_1") as mine:
        assert mine
    other.dispose()
