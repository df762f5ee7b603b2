"""Signals wait for the end of a step, and then reach whom they are for."""

import pathlib
import signal
import subprocess
import sys

import pytest

from qup.core.errors import InputError
from qup.core.interruption import SignalGuard
from qup.training import History


def test_a_signal_waits_for_the_end_of_the_block():
    steps = []
    with pytest.raises(KeyboardInterrupt), SignalGuard() as interruption:
        signal.raise_signal(signal.SIGINT)
        steps.append(interruption.signal_received)
    assert steps == [signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), SignalGuard():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        pytest.fail("it waited")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_is_not_hidden_by_a_signal():
    with pytest.raises(ZeroDivisionError), SignalGuard():
        signal.raise_signal(signal.SIGINT)
        _ = 1 / 0


def test_without_a_signal_nothing_happens():
    with SignalGuard() as interruption:
        pass
    assert interruption.signal_received is None


def test_a_history_is_kept_and_an_epoch_counts_once(tmp_path):
    history = History(tmp_path / "history.json")
    for epoch, loss in ((1, 3.0), (2, 2.0), (2, 1.0)):
        history.record(epoch, {"loss": loss})
    again = History(tmp_path / "history.json")
    assert again.epochs == {1: {"loss": 3.0}, 2: {"loss": 1.0}}


@pytest.mark.parametrize("damage", ["", "[1]", '{"a": 1}'])
def test_a_damaged_history_is_told(tmp_path, damage):
    (tmp_path / "history.json").write_text(damage)
    with pytest.raises(InputError, match="is damaged"):
        History(tmp_path / "history.json")


_DESTRUCTOR = """
import signal, sys, time
from qup.cli import program

class Held:
    def __del__(self):
        signal.raise_signal(signal.{name})
        sum(range(3))

program.install_signal_handlers()
try:
    held = Held()
    del held
    print("lost", flush=True)
    time.sleep(60)
except (KeyboardInterrupt, program.Terminated) as error:
    print(type(error).__name__)
    sys.exit(3)
"""


@pytest.mark.parametrize(
    ("name", "error"), [("SIGTERM", "Terminated"), ("SIGINT", "KeyboardInterrupt")]
)
def test_a_signal_in_a_destructor_is_not_lost(name, error):
    found = subprocess.run(
        [sys.executable, "-c", _DESTRUCTOR.format(name=name)],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert found.stdout.split() == ["lost", error]
    assert found.returncode == 3 and "ignored" not in found.stderr
