"""Progress: what a line says, when it is written, and where."""

import io
import sys
import time

import pytest

from qup.core import progress
from qup.core.progress import Counter, Display, Parts


class Clock:
    """A clock that a test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    """A stream that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock():
    return Clock()


def test_a_counter_says_how_much_is_done_and_how_long_it_takes(clock):
    counter = Counter("pgd", total=1000, unit="image", clock=clock)
    assert counter.format_state() == "pgd: 0 %, 0 of 1,000 images, 1 s so far"
    counter.add(250)
    clock.now += 10
    assert counter.estimate_seconds_left() == pytest.approx(30)
    assert counter.format_state() == "pgd: 25 %, 250 of 1,000 images, about 30 s left"
    counter.add(750)
    assert counter.format_state() == "pgd: 100 %, 1,000 of 1,000 images"


def test_a_counter_without_a_total_counts(clock):
    counter = Counter("mcmc", total=None, unit="sample", clock=clock)
    counter.add(2)
    clock.now += 42
    assert counter.format_state() == "mcmc: 2 samples, 40 s so far"


def test_resumed_items_do_not_count_as_speed(clock):
    counter = Counter("training", total=100, unit="step", done=50, clock=clock)
    clock.now += 10
    counter.add(10)
    assert counter.estimate_seconds_left() == pytest.approx(40)


def test_a_share_never_falls(clock):
    counter = Counter("autoattack", total=1.0, clock=clock)
    counter.set_share(0.5)
    counter.set_share(0.3)
    counter.set_share(1.7)
    assert counter.share == 1
    assert counter.format_state() == "autoattack: 100 %"


def test_the_expected_time_counts_until_the_speed_is_known(clock):
    counter = Counter("autoattack", total=1.0, expected_seconds=100.0, clock=clock)
    assert counter.estimate_seconds_left() == 100
    clock.now += 10
    counter.set_share(0.01)  # At this speed 990 s would be left.
    assert 99 < counter.estimate_seconds_left() < 125
    clock.now += 30
    counter.set_share(0.5)
    assert counter.estimate_seconds_left() == pytest.approx(40)


def test_a_line_names_the_part_and_the_time_of_all_parts(clock):
    parts = Parts({"images": 10.0, "pgd": 40.0, "autoattack": 600.0}, clock)
    assert parts.format_state(None) == ""
    parts.begin("images")
    clock.now += 10
    parts.begin("pgd")
    expected = parts.get_expected()
    counter = Counter("pgd", total=1.0, expected_seconds=expected, is_whole_part=True, clock=clock)
    clock.now += 20
    counter.set_share(0.5)
    assert parts.format_state(counter) == (
        "part 2 of 3, pgd: 50 %, about 20 s left; all parts: about 10 min left"
    )
    parts.begin("autoattack")
    counter = Counter("autoattack", total=1.0, expected_seconds=600.0, clock=clock)
    assert parts.format_state(counter) == "part 3 of 3, autoattack: 0 %, about 10 min left"


def test_a_part_without_a_counter_has_a_line(clock):
    parts = Parts({"masking": 60.0, "pgd": None}, clock)
    parts.begin("masking")
    clock.now += 15
    assert parts.format_state(None) == "part 1 of 2, masking: about 45 s left"


def test_slow_parts_make_the_next_ones_slower(clock):
    parts = Parts({"a": 10.0, "b": 10.0, "c": 10.0}, clock)
    parts.begin("a")
    clock.now += 20
    parts.begin("b")
    assert parts.estimate_later_seconds() == pytest.approx(20)
    parts.begin("unknown")
    assert parts.current == "b"


def test_a_pipe_gets_a_line_every_ten_seconds(clock):
    stream = io.StringIO()
    display = Display(clock, stream)
    counter = Counter("pgd", total=100, unit="image", clock=clock)
    with display.show(counter, lines=True):
        for _ in range(50):
            clock.now += 1
            counter.add(2)
            display.render()
    lines = stream.getvalue().splitlines()
    assert len(lines) == 5
    assert lines[0] == "pgd: 20 %, 20 of 100 images, about 40 s left"


def test_epochs_of_a_few_seconds_get_lines_too(clock):
    stream = io.StringIO()
    display = Display(clock, stream)
    for epoch in range(10):
        with display.show(Counter(f"epoch {epoch}", total=3, unit="step", clock=clock), True):
            for _ in range(3):
                clock.now += 1
                display.render()
    assert len(stream.getvalue().splitlines()) == 3


def test_work_of_less_than_ten_seconds_writes_no_line(clock):
    stream = io.StringIO()
    display = Display(clock, stream)
    for _ in range(5):
        clock.now += 60
        with display.show(Counter("short", total=9, unit="step", clock=clock), True):
            for _ in range(9):
                clock.now += 1
                display.render()
    assert stream.getvalue() == ""


def test_without_a_terminal_lines_must_be_requested(clock):
    stream = io.StringIO()
    display = Display(clock, stream)
    with display.show(Counter("pgd", total=1.0, clock=clock)):
        clock.now += 60
        display.render()
    assert stream.getvalue() == ""
    display.shows_lines = True
    with display.show(Counter("pgd", total=1.0, clock=clock)):
        clock.now += 60
        display.render()
    assert stream.getvalue() == "pgd: 0 %, 1 min so far\n"


def test_a_terminal_has_one_line_that_disappears(clock):
    stream = Terminal()
    display = Display(clock, stream)
    counter = Counter("pgd", total=1.0, clock=clock)
    with display.show(counter):
        for share in (0.25, 0.5):
            clock.now += 5
            counter.set_share(share)
            display.render()
    assert "\n" not in stream.getvalue()
    first, second, spaces, end = stream.getvalue().split("\r")[1:]
    assert first == "pgd: 25 %, about 15 s left"
    assert second == "pgd: 50 %, about 10 s left"
    assert spaces == " " * len(second) and end == ""


def test_a_shorter_line_covers_a_longer_one(clock):
    stream = Terminal()
    display = Display(clock, stream)
    with display.show(Counter("a long title", total=9, unit="step", clock=clock)):
        display.render()
        with display.show(Counter("x", total=1.0, clock=clock)):
            display.render()
    lines = stream.getvalue().split("\r")[1:]
    assert lines[1].startswith("x: 0 %") and len(lines[1]) == len(lines[0])


def test_the_innermost_counter_is_shown_with_its_part(clock, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    display = Display(clock, stream)
    with display.show_parts(Parts({"checks": 100.0, "pgd": 10.0}, clock)) as parts:
        parts.begin("checks")
        whole = Counter("masking", total=14, unit="check", is_whole_part=True, clock=clock)
        with display.show(whole) as outer:
            assert outer.expected_seconds == 100
            with display.show(Counter("transfer", total=5, unit="batch", clock=clock)):
                display.render()
    line = "part 1 of 2, transfer: 0 %, 0 of 5 batches, 1 s so far; all parts: about 2 min left"
    assert line in stream.getvalue()


def test_nothing_is_written_where_a_caller_wants_nothing(clock):
    stream = Terminal()
    display = Display(clock, stream)
    with display.show_parts(Parts({"pgd": None}, clock), lines=False) as parts:
        parts.begin("pgd")
        display.render()
    assert stream.getvalue() == ""


def test_parts_without_a_counter_write_lines_on_request(clock):
    stream = io.StringIO()
    display = Display(clock, stream)
    with display.show_parts(Parts({"masking": None, "pgd": None}, clock), lines=True) as parts:
        parts.begin("masking")
        clock.now += 30
        display.render()
    assert stream.getvalue() == "part 1 of 2, masking: 30 s so far\n"


def test_a_broken_pipe_does_not_end_the_work(clock):
    class Broken(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    display = Display(clock, Broken())
    with display.show(Counter("pgd", total=1.0, clock=clock), lines=True):
        clock.now += 60
        display.render()


def test_a_thread_writes_while_one_call_takes_long(monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0.2)
    monkeypatch.setattr(progress, "_REDRAW_INTERVAL_S", 0.05)
    with progress.open_share("compilation", lines=True):
        time.sleep(0.6)
    assert 1 <= capsys.readouterr().err.count("compilation: 0 %") <= 3


def test_track_and_open_counter_count(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    assert list(progress.track("abc", title="letters", total=3)) == ["a", "b", "c"]
    with progress.open_counter("images", 10, "image") as add:
        add(3)
        progress._display.render()
    assert "images: 30 %, 3 of 10 images" in stream.getvalue()
