"""How fast annotators answer, and how long the work between two batches takes."""

from collections import deque
from collections.abc import Callable

SPAN = 600.0
"""Seconds of answers from which the pace is taken."""


class Pace:
    """Counts answers, and times the work on the next batch, by ``clock``, in seconds."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock
        self._times: deque[float] = deque()
        self._began, self._took = clock(), 0.0

    def count(self) -> None:
        """Note an answer."""
        self._times.append(self._clock())

    def begin(self) -> None:
        """The work on the next batch begins."""
        self._began = self._clock()

    def end(self) -> None:
        """The next batch is there."""
        self._took = self._clock() - self._began

    def labels_a_second(self) -> float:
        """Answers a second of late, 0 before there are a few."""
        now = self._clock()
        while self._times and self._times[0] < now - SPAN:
            self._times.popleft()
        return len(self._times) / max(now - self._times[0], 1.0) if len(self._times) >= 5 else 0.0

    def seconds_left(self, training: float | None) -> float | None:
        """About how long the work on the next batch still takes, of which the share ``training`` of a training is done;
        None where nobody knows."""
        elapsed = self._clock() - self._began
        if training:
            return elapsed * (1 - training) / training
        return max(self._took - elapsed, 1.0) if self._took > 1 else None
