"""Rates and pauses, with a clock that costs no time."""

from __future__ import annotations

import pytest

from camaudit.data.generation.throttle import Backoff, Throttle
from camaudit.errors import GenerationError


class Time:
    """A clock that sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def test_requests_are_spaced_evenly() -> None:
    time = Time()
    throttle = Throttle(30, clock=time.clock, sleep=time.sleep)
    for _ in range(3):
        throttle.wait()
    assert time.slept == [2.0, 2.0]
    time.now += 1.5  # what the answer took counts
    throttle.wait()
    assert time.slept[-1] == pytest.approx(0.5)
    time.now += 60  # a long pause earns no burst
    throttle.wait()
    throttle.wait()
    assert time.slept[3:] == [2.0]


def test_no_rate_never_waits() -> None:
    time = Time()
    throttle = Throttle(None, clock=time.clock, sleep=time.sleep)
    for _ in range(5):
        throttle.wait()
    assert not time.slept


def backoff(retries: int, time: Time, told: list[str] | None = None) -> Backoff:
    return Backoff(retries, sleep=time.sleep, tell=None if told is None else told.append)


def test_pauses_double_with_bounded_jitter_and_repeat_with_the_name() -> None:
    time, again, other = Time(), Time(), Time()
    for name, where in (("a", time), ("a", again), ("b", other)):
        pausing = backoff(20, where)
        for failures in range(1, 12):
            pausing.wait("busy", failures=failures, asked=None, name=name)
    for k, pause in enumerate(time.slept):
        assert min(120.0, 2.0**k) / 2 <= pause <= min(120.0, 2.0**k)
    assert time.slept == again.slept
    assert time.slept != other.slept


def test_the_servers_word_counts_up_to_the_longest_pause() -> None:
    time, told = Time(), []
    pausing = backoff(3, time, told)
    pausing.wait("host answers 429", failures=1, asked=7.0, name="a")
    pausing.wait("host answers 429", failures=2, asked=0.0, name="a")
    assert time.slept == [7.0, 0.0]
    assert told[:2] == ["host answers 429; trying again in 7 s", "asking for a again"]
    with pytest.raises(GenerationError, match="asks to come back in 3600 s; what is finished is k"):
        pausing.wait("host answers 429", failures=3, asked=3600.0, name="a")
    assert len(time.slept) == 2


def test_enough_failures_end_it() -> None:
    pausing = backoff(1, Time())
    pausing.wait("busy", failures=1, asked=None, name="a")
    with pytest.raises(GenerationError, match="busy; gave up after 2 tries"):
        pausing.wait("busy", failures=2, asked=None, name="a")
