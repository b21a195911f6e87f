"""How many steps there are and how long they are: plain Python and a clock of glass."""

import itertools
import math

import pytest

from jaxnst.optimize.optimizers import make_optimizer
from jaxnst.optimize.recovery import Method
from jaxnst.optimize.schedule import Budget, SizeSchedule, learning_rate_at


def method_of(rate, decay=0.0):
    return Method(make_optimizer("adam"), rate, decay)


def schedule_of(rate, num_steps, *, decay=0.0, tolerance=0.0):
    """Return the schedule of the only size of a painting."""
    budget = Budget([1], [num_steps])
    return SizeSchedule(method_of(rate, decay), budget, tolerance=tolerance)


def rates_of(schedule, losses=None):
    """Take all steps of a schedule; `losses` says what each begins with."""
    rates = []
    while step := schedule.next_rates():
        rates += step
        if losses is not None:
            schedule.observe([losses(schedule.done - 1)], schedule.done)
    return rates


def test_learning_rate_falls_along_a_cosine():
    rates = [learning_rate_at(0.1, k, 10, 0.5) for k in range(10)]
    assert rates[:5] == [0.1] * 5
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[4:]))
    assert rates[7] == pytest.approx(0.05)
    assert [learning_rate_at(0.1, k, 10, 0.0) for k in (0, 9)] == [0.1, 0.1]


def test_without_limits_all_steps_are_taken():
    schedule = schedule_of(0.1, 10, decay=0.5)
    assert rates_of(schedule, lambda k: 1.0) == [
        learning_rate_at(0.1, k, 10, 0.5) for k in range(10)
    ]
    assert schedule.stopped is None


def test_several_rates_at_once_are_the_same():
    schedule = schedule_of(0.1, 10, decay=0.5)
    blocks = [schedule.next_rates(4) for _ in range(4)]
    assert [len(block) for block in blocks] == [4, 4, 2, 0]
    assert [rate for block in blocks for rate in block] == rates_of(
        schedule_of(0.1, 10, decay=0.5)
    )


def test_a_flat_loss_ends_a_size():
    schedule = schedule_of(0.1, 100, tolerance=0.01)
    # Falls by a half every ten steps, up to step 40.
    rates = rates_of(schedule, lambda k: 0.5 ** (min(k, 40) / 10))
    assert 50 <= len(rates) <= 60
    assert set(rates) == {0.1}
    assert schedule.stopped == "converged"


def test_a_falling_loss_does_not():
    schedule = schedule_of(0.1, 100, tolerance=0.01)
    assert len(rates_of(schedule, lambda k: 0.99**k)) == 100
    assert schedule.stopped is None


def test_noise_does_not():
    """Single steps go up and down by a fifth; in the mean a tenth is gained in ten."""
    schedule = schedule_of(0.1, 100, tolerance=0.01)
    rates = rates_of(schedule, lambda k: 0.99**k * (1 + 0.2 * math.sin(2.6 * k)))
    assert len(rates) == 100


def test_an_early_end_of_the_full_size_still_slows_down():
    schedule = schedule_of(0.1, 100, decay=0.5, tolerance=0.01)
    rates = rates_of(schedule, lambda k: 1.0)
    assert rates[:20] == [0.1] * 20
    assert len(rates) == 30
    assert all(a > b > 0 for a, b in itertools.pairwise(rates[19:]))
    assert rates[-1] < 0.03 * 0.1
    assert schedule.stopped == "converged"


def test_near_the_end_nothing_is_hurried_up():
    """With fewer steps left than the slowing takes, there are as many as planned."""
    schedule = schedule_of(0.1, 25, decay=0.2, tolerance=0.01)
    rates = rates_of(schedule, lambda k: 1.0)
    assert len(rates) == 25
    assert rates[-1] < 0.1 * rates[20]
    assert schedule.stopped is None


def test_another_rate_in_the_middle():
    schedule = schedule_of(0.1, 10, decay=0.5)
    before = schedule.next_rates(3)
    schedule.soften(method_of(0.01, 0.5))
    rates = before + rates_of(schedule)
    expected = [learning_rate_at(0.01, k, 10, 0.5) for k in range(3, 10)]
    assert rates == [0.1] * 3 + expected


class Painter:
    """Plays a whole painting on a clock of its own.

    Args:
        per_pixel: seconds of a step.
        setup: seconds that a size costs besides.
        deadline: by when to be done.
    """

    PIXELS = (100, 400, 1600)
    STEPS = (100, 100, 60)

    def __init__(self, per_pixel, setup, deadline):
        self.now = 0.0
        budget = Budget(
            self.PIXELS, self.STEPS, deadline=deadline, now_fn=lambda: self.now
        )
        self.rates = []
        self.stopped = []
        for index, pixels in enumerate(self.PIXELS):
            self.rates.append([])
            if not budget.begin_size(index):
                self.stopped.append("skipped")
                continue
            self.now += setup
            schedule = SizeSchedule(method_of(0.05, 0.7), budget)
            while rates := schedule.next_rates():
                self.now += per_pixel * pixels
                self.rates[-1] += rates
                schedule.observe([1.0], schedule.done)
            self.stopped.append(schedule.stopped)

    @property
    def steps(self):
        return [len(rates) for rates in self.rates]


@pytest.mark.parametrize("deadline", [None, 500.0])
def test_with_time_enough_nothing_is_cut(deadline):
    """All steps take 146 s, and 15 s for the rest."""
    painter = Painter(0.001, 5.0, deadline)
    assert painter.steps == [100, 100, 60]
    assert painter.stopped == [None, None, None]


@pytest.mark.parametrize("deadline", [40.0, 60.0, 90.0, 120.0])
def test_a_budget_is_kept_and_used(deadline):
    painter = Painter(0.001, 5.0, deadline)
    assert 0.93 * deadline <= painter.now <= deadline
    assert painter.stopped == ["out of time"] * 3
    assert all(
        a / b == pytest.approx(painter.steps[0] / 100, abs=0.12)
        for a, b in zip(painter.steps, Painter.STEPS, strict=True)
    )


def test_more_time_is_more_steps():
    steps = [Painter(0.001, 5.0, deadline).steps for deadline in (40, 60, 90, 120)]
    for fewer, more in itertools.pairwise(steps):
        assert all(a < b for a, b in zip(fewer, more, strict=True))


@pytest.mark.parametrize("deadline", [1e-3, 12.0, 20.0, 28.0, 40.0, 90.0])
def test_the_full_size_always_gets_steps_that_slow_down(deadline):
    painter = Painter(0.001, 5.0, deadline)
    rates = painter.rates[-1]
    assert len(rates) >= 5
    assert rates[-1] < 0.35 * rates[0]
    if deadline >= 28:
        assert painter.now <= deadline


def test_without_time_the_sizes_between_are_left_out():
    painter = Painter(0.001, 5.0, 12.0)
    assert painter.stopped[1] == "skipped"
    assert painter.steps[1] == 0
    # Some steps of the first size, 5 s to prepare the last, and its least of 8 s.
    assert painter.now <= 5 + 5 + 8 + 1


def test_a_single_size_keeps_its_time(monkeypatch):
    monkeypatch.setattr(Painter, "PIXELS", (1600,))
    monkeypatch.setattr(Painter, "STEPS", (60,))
    painter = Painter(0.001, 5.0, 40.0)
    assert 0.93 * 40 <= painter.now <= 40
    assert painter.rates[0][-1] < 0.03 * 0.05
