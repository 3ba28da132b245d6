"""A server's directory of counts: no other start touches it, and a killed owner's is taken away."""

import os
import signal
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.webhooks.conftest import Receiver
from webhooks.counts import PREFIX, own_directory

StartReceiver = Callable[..., AbstractContextManager[Receiver]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for temporary directories with nobody else in it."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def left(place: Path) -> set[str]:
    return {found.name for found in place.glob(f"{PREFIX}*")}


def test_what_a_killed_receiver_left_is_taken_away_by_the_next_start(
    start_receiver: StartReceiver, place: Path
) -> None:
    with start_receiver() as running:
        (mine,) = left(place)
        with own_directory() as other:
            assert left(place) == {mine, other.name}
        assert left(place) == {mine}
        os.killpg(running.process.pid, signal.SIGKILL)
    assert left(place) == {mine}
    with own_directory() as next_one:
        assert left(place) == {next_one.name}
    assert left(place) == set()


def test_only_directories_of_ours_are_taken_away(place: Path) -> None:
    elsewhere = place / "elsewhere"
    elsewhere.mkdir()
    (place / f"{PREFIX}link").symlink_to(elsewhere)
    (place / f"{PREFIX}file").touch()
    with own_directory() as mine:
        assert left(place) == {mine.name, f"{PREFIX}link", f"{PREFIX}file"}
    assert elsewhere.is_dir()
