"""Child processes: waited for, told apart from strangers, gone when their parent is gone."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from backoffice.local import leftovers, processes
from backoffice.local.errors import ProcessFailedError
from backoffice.local.network import free_port
from backoffice.local.processes import Command, Process, started_on_a_free_port
from backoffice.local.supervisor import RestartPolicy, Supervisor

ROOT = Path(__file__).parent.parent.parent
SLEEP = ("/bin/sleep", "60")
WAIT_S = 60


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something another process does."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def python(script: str, name: str = "script", **more: object) -> Command:
    """A command that runs a few lines of Python."""
    return Command(name=name, argv=(sys.executable, "-c", script), env=dict(os.environ), **more)  # type: ignore[arg-type]


def test_a_process_that_ends_early_is_told_with_its_last_words(tmp_path: Path) -> None:
    process = Process(
        python("print('no catalog here'); raise SystemExit(3)", ready=lambda: False), tmp_path
    )
    process.start()
    with pytest.raises(ProcessFailedError, match=r"exit code 3(.|\n)*no catalog here"):
        process.wait_ready()


def test_waiting_for_readiness_is_bounded(tmp_path: Path) -> None:
    process = Process(Command("sleeper", SLEEP, ready=lambda: False, ready_timeout_s=0.1), tmp_path)
    process.start()
    with pytest.raises(ProcessFailedError, match=r"was not ready after 0.1 s"):
        process.wait_ready()
    process.stop()


def test_a_process_that_does_not_listen_to_sigterm_is_killed(tmp_path: Path) -> None:
    deaf = python(
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "print('deaf', flush=True); time.sleep(60)",
        stop_timeout_s=0.2,
    )
    process = Process(deaf, tmp_path)
    process.start()
    wait_until(lambda: "deaf" in process.tail())
    assert process.stop() == -signal.SIGKILL


def test_stopping_in_order_leaves_no_record(tmp_path: Path) -> None:
    process = Process(Command("sleeper", SLEEP), tmp_path)
    process.start()
    assert list((tmp_path / "run").glob("*.json"))
    assert process.stop() == -signal.SIGTERM
    assert not list((tmp_path / "run").glob("*.json"))
    process.start()
    assert process.alive
    process.stop()


PARENT = """
import os, signal, sys
from pathlib import Path
from backoffice.local.network import free_port
from backoffice.local.processes import Command, Process, started_on_a_free_port
child = Process(Command("child", ("/bin/sleep", "60")), Path(sys.argv[1]))
child.start()
print(child.pid, flush=True)
signal.pause()
"""


def _killed_parent(home: Path) -> int:
    """Start a parent with a child, SIGKILL the parent; the child's process id."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, home], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    return child


LISTENER = """
import pathlib, socket, time
server = socket.create_server(("127.0.0.1", PORT))
pathlib.Path("MARK").touch()
time.sleep(60)
"""


def test_a_port_that_somebody_took_meanwhile_is_exchanged_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def listener(port: int) -> Command:
        mark = tmp_path / str(port)
        script = LISTENER.replace("PORT", str(port)).replace("MARK", str(mark))
        return python(script, ready=mark.exists)

    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        ports = iter((taken, free_port()))
        monkeypatch.setattr(processes, "free_port", lambda: next(ports))
        process, port = started_on_a_free_port(listener, tmp_path)
    assert port != taken
    assert process.alive
    process.stop()


def test_what_ends_for_another_reason_is_started_once(tmp_path: Path) -> None:
    asked: list[int] = []

    def hopeless(port: int) -> Command:
        asked.append(port)
        return python("raise SystemExit('no such catalog')", ready=lambda: False)

    with pytest.raises(ProcessFailedError, match="no such catalog"):
        started_on_a_free_port(hopeless, tmp_path)
    assert len(asked) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells the child")
def test_a_child_dies_with_a_killed_parent(tmp_path: Path) -> None:
    child = _killed_parent(tmp_path)
    wait_until(lambda: leftovers.started(child) is None)


def test_the_next_start_ends_what_a_killed_parent_left(tmp_path: Path) -> None:
    orphan = subprocess.Popen(SLEEP)
    try:
        (tmp_path / "run").mkdir()
        leftovers.remember(tmp_path / "run" / "orphan.json", orphan.pid)
        # A reaper stands in for init, which the orphan of a killed parent would have.
        reaper = threading.Thread(target=orphan.wait)
        reaper.start()
        assert leftovers.end_all(tmp_path) == ["orphan"]
        reaper.join(WAIT_S)
        assert orphan.returncode == -signal.SIGINT
        assert not list((tmp_path / "run").iterdir())
    finally:
        orphan.kill()
        orphan.wait()


def test_a_stranger_with_the_same_process_id_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(SLEEP)
    try:
        record = tmp_path / "run" / "gone.json"
        record.parent.mkdir()
        record.write_text(json.dumps({"pid": stranger.pid, "started": "another boot:1"}))
        (tmp_path / "run" / "torn.json").write_text('{"pid": ')
        assert leftovers.end_all(tmp_path) == []
        assert stranger.poll() is None
        assert not record.exists()
    finally:
        stranger.kill()
        stranger.wait()


def test_what_ends_is_started_again_and_the_rest_left_alone(tmp_path: Path) -> None:
    processes = [Process(Command(name, SLEEP), tmp_path) for name in ("one", "two")]
    lines: list[str] = []
    supervisor = Supervisor(processes, policy=RestartPolicy(first_delay_s=0.05), tell=lines.append)
    with supervisor.in_background():
        first, second = (process.pid for process in processes)
        psutil.Process(first).kill()
        wait_until(lambda: processes[0].alive and processes[0].pid != first)
        assert processes[1].pid == second
    assert lines == ["one ended with exit code -9; starting it again in 0.05 s"]
    assert not any(process.alive for process in processes)


def test_a_process_that_keeps_ending_stops_everything(tmp_path: Path) -> None:
    hopeless = Process(python("raise SystemExit('no such catalog')", "hopeless"), tmp_path)
    policy = RestartPolicy(first_delay_s=0.01, most_in_a_row=2)
    supervisor = Supervisor([hopeless], policy=policy, tell=lambda _: None)
    hopeless.start()
    with pytest.raises(ProcessFailedError, match=r"3 times in a row(.|\n)*no such catalog"):
        supervisor.watch(threading.Event())


def test_what_fails_in_the_background_is_told_at_the_end(tmp_path: Path) -> None:
    good = Process(Command("good", SLEEP), tmp_path)
    bad = Process(python("raise SystemExit('no such catalog')", "bad"), tmp_path)
    policy = RestartPolicy(first_delay_s=0.01, most_in_a_row=1)
    supervisor = Supervisor([good, bad], policy=policy, tell=lambda _: None)

    def run() -> None:
        with supervisor.in_background():
            wait_until(lambda: not good.alive)

    with pytest.raises(ProcessFailedError, match="no such catalog"):
        run()


def test_when_one_does_not_start_the_others_are_stopped(tmp_path: Path) -> None:
    good = Process(Command("good", SLEEP), tmp_path)
    bad = Process(python("raise SystemExit(1)", "bad", ready=lambda: False), tmp_path)
    with pytest.raises(ProcessFailedError, match="bad ended"):
        Supervisor([good, bad], tell=lambda _: None).start()
    assert not good.alive


def test_a_process_is_asked_once_however_often_it_is_told(tmp_path: Path) -> None:
    """To many a second SIGTERM means: drop everything."""
    counting = python(
        "import signal, sys, time\n"
        "asked = []\n"
        "signal.signal(signal.SIGTERM, lambda *_: asked.append(1))\n"
        "print('listening', flush=True)\n"
        "while not asked: time.sleep(0.01)\n"
        "time.sleep(0.3)\n"
        "sys.exit(len(asked))"
    )
    process = Process(counting, tmp_path)
    process.start()
    wait_until(lambda: "listening" in process.tail())
    process.ask_to_stop()
    process.ask_to_stop()
    assert process.stop() == 1


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.5), (2, 1.0), (3, 2.0), (4, 2.0), (5, None)]
)
def test_restarts_wait_longer_each_time_and_end(failures: int, delay_s: float | None) -> None:
    policy = RestartPolicy(first_delay_s=0.5, longest_delay_s=2.0, most_in_a_row=4)
    assert policy.delay_s(failures) == delay_s
