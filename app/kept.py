"""What is made of a model when it is first asked for, such as a session of its own: the last few are kept, and the
reasons where there can be none. Knows models, and not what is made of them."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from app.errors import AppError, ArtifactRejected, InvalidRequest
from app.model import Model

Value = TypeVar("Value")
# Faults of the model itself: trying again would not help. A file that has gone is none.
LASTING = (ArtifactRejected, InvalidRequest)


class Kept(Generic[Value]):
    """Safe in threads. Of each model it is made once at a time, and nobody waits for another model's. What belongs to a
    model that nobody holds any more is freed with it."""

    def __init__(
        self,
        make: Callable[[Model], Value],
        most: int | None = None,
        seen: Callable[[Model], object] = lambda model: None,
    ) -> None:
        """`most` are kept, the last ones used; None: all. A refusal holds as long as `seen` gives the same."""
        self._make, self._most, self._seen = make, most, seen
        self._values: WeakKeyDictionary[Model, Value] = WeakKeyDictionary()  # the last one used is the last one
        # Without the error itself: its traceback has the model, which would be held by it.
        self._refusals: WeakKeyDictionary[Model, tuple[object, type[AppError], str]] = WeakKeyDictionary()
        self._turns: WeakKeyDictionary[Model, threading.Lock] = WeakKeyDictionary()
        self._announced: WeakSet[Model] = WeakSet()
        self._lock = threading.Lock()  # of the four; nothing is made while it is held

    def known(self, model: Model) -> Value | None:
        """None if it is not kept. Waits for nobody."""
        return self._values.get(model)

    def announce(self, model: Model) -> bool:
        """Whether it is still to be made, and nobody has said before that it will be: who asks is to count it."""
        with self._lock:
            if model in self._values or model in self._refusals or model in self._announced:
                return False
            self._announced.add(model)
            return True

    def of(self, model: Model) -> Value:
        """Raises what making it raises; a fault of the model's own is raised again without another try."""
        value = self._used(model)
        if value is not None:
            return value
        with self._lock:
            turn = self._turns.setdefault(model, threading.Lock())
        with turn:
            value = self._used(model)  # somebody else has made it meanwhile
            return self._made(model) if value is None else value

    def _used(self, model: Model) -> Value | None:
        with self._lock:
            value = self._values.pop(model, None)
            if value is not None:
                self._values[model] = value
        return value

    def _made(self, model: Model) -> Value:
        seen, refusal = self._seen(model), self._refusals.get(model)
        if refusal is not None and refusal[0] == seen:
            _, kind, detail = refusal
            raise kind(detail)
        try:
            value = self._make(model)
        except LASTING as error:
            with self._lock:
                self._refusals[model] = (seen, type(error), error.detail)
            raise
        finally:
            with self._lock:
                self._announced.discard(model)
        with self._lock:
            self._values[model] = value
            while self._most is not None and len(self._values) > self._most:
                del self._values[next(iter(self._values))]
        return value
