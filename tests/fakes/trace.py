"""What was called, in which order, and where it shall fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from zun_arm.errors import HostNotReady


@dataclass(frozen=True)
class Failure:
    """``error`` is raised before the step has an effect, or ``after`` it: as when a request was carried out, not answered."""

    error: BaseException
    after: bool


class Trace:
    """Every call on the fakes of one host, by name (``engine.create``), in order.

    A failure or an action is meant for the ``nth`` call of that name from now on, or for the call with that number.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.engine_dead_from: int | None = None
        self._by_name: dict[str, list[tuple[int, Failure]]] = {}
        self._by_number: dict[int, Failure] = {}
        self._actions: dict[str, list[tuple[int, Callable[[], object]]]] = {}

    def fail(self, name: str, error: BaseException, *, after: bool = False, nth: int = 1) -> None:
        self._by_name.setdefault(name, []).append((self._seen(name) + nth, Failure(error, after)))

    def fail_call(self, number: int, error: BaseException, *, after: bool = False) -> None:
        self._by_number[number] = Failure(error, after)

    def afterwards(self, name: str, action: Callable[[], object], *, nth: int = 1) -> None:
        """Somebody else does something just after a call, before its caller goes on."""
        self._actions.setdefault(name, []).append((self._seen(name) + nth, action))

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        number, seen = len(self.calls), self._seen(name) + 1
        self.calls.append(name)
        if self.engine_dead_from is not None and number >= self.engine_dead_from and name.startswith("engine."):
            raise HostNotReady("Docker: the engine does not answer", hint="start it")
        failure = self._by_number.get(number)
        for nth, planned in self._by_name.get(name, []):
            failure = planned if nth == seen else failure
        if failure is not None and not failure.after:
            raise failure.error
        try:
            yield
        except Exception:
            if failure is None:
                raise
        for nth, action in self._actions.get(name, []):
            if nth == seen:
                action()
        if failure is not None:
            raise failure.error

    def _seen(self, name: str) -> int:
        return self.calls.count(name)
