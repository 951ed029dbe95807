"""Whose turn it is."""

from collections import deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar

_URGENT_IN_A_ROW = 4


class Urgent(Protocol):
    """Something that waits.

    Attributes:
        urgent: somebody waits for it and does nothing else.
    """

    urgent: bool


JobT = TypeVar("JobT", bound=Urgent)


class Turns(Generic[JobT]):
    """Jobs that wait: the urgent ones first, but after four of them one of the others."""

    def __init__(self) -> None:
        self._urgent: deque[JobT] = deque()
        self._others: deque[JobT] = deque()
        self._in_a_row = 0

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def __iter__(self) -> Iterator[JobT]:
        return iter([*self._urgent, *self._others])

    def append(self, job: JobT) -> None:
        """Let it wait behind its like."""
        self._of(job).append(job)

    def prepend(self, job: JobT) -> None:
        """Let it wait before its like."""
        self._of(job).appendleft(job)

    def first(self) -> JobT | None:
        """Whose turn it is; it goes on waiting."""
        if self._others and (not self._urgent or self._in_a_row >= _URGENT_IN_A_ROW):
            return self._others[0]
        return self._urgent[0] if self._urgent else None

    def take(self) -> JobT:
        """Remove the one whose turn it is.

        Raises:
            IndexError: none waits.
        """
        job = self.first()
        if job is None:
            raise IndexError("no job waits")
        self._of(job).popleft()
        self._in_a_row = self._in_a_row + 1 if job.urgent and self._others else 0
        return job

    def discard(self, job: JobT) -> None:
        """Remove one, if it waits."""
        if job in self._of(job):
            self._of(job).remove(job)

    def _of(self, job: JobT) -> deque[JobT]:
        return self._urgent if job.urgent else self._others
