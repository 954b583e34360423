"""What a model's rows cost, measured when the service has begun, and whether putting rows of several callers together
is right and pays. Knows sessions and arrays, no cards and no queues."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from app.card import are_pictures
from app.runtime import raise_lack_of_memory, run_and_shrink

Array = NDArray[Any]
Inputs = Mapping[str, Array]

SIZES = (1, 4, 16)
# Runs of each size, after one that allocates; the quickest counts, since everything else that happens only adds. Once
# they have taken so long together there is no other: of a long run, what chance and allocation add is a small part.
REPEATS = {1: 3, 4: 2, 16: 2}
ENOUGH_SECONDS = 0.01
# A model slower than this is not tried with more rows: measuring it would take seconds.
SLOW_SECONDS = 0.25
# Less than this share saved on each row is noise.
WORTH = 0.03
# As far as rows of a batch may be from the same rows alone: kernels add up in another order.
SAME = 1e-6
# What a text's length costs is measured on one so many times as long, and of so many characters at least.
LONGER, LONG_TEXT = 16, 1_024
# A text that counts for so many characters costs the same at any length.
ANY_LENGTH = 1e9


@dataclass(frozen=True)
class Profile:
    """Seconds by number of rows, and what follows from them. `independent`: a row's answer is the same in any batch,
    so rows may be split and put together; `merges`: that pays, too; `batched`: the first axis counts rows."""

    seconds: Mapping[int, float]
    independent: bool
    merges: bool
    reason: str
    batched: bool = True
    row_elements: float = 1.0  # in one row of those that were measured, all inputs together
    # Characters that a text counts for beside its own: what it costs to begin one. None without texts.
    text_base: float | None = None
    provisional: bool = False  # to be measured yet

    def weight(self, inputs: Inputs) -> float:
        """Rows of the size that was measured; at least one."""
        if self.text_base is None:  # the quick way: it is asked for several times with every request
            return max(1.0, sum([array.size for array in inputs.values()]) / self.row_elements)
        return max(1.0, _elements(inputs, self.text_base) / self.row_elements)

    def estimate(self, rows: float) -> float:
        """Seconds that so many rows take: measured sizes, a straight line between them, which never falls, and
        beyond the last, which rises. Infinite if nothing could be measured."""
        for low, seconds, high, slope in self._lines:
            if rows <= high:
                return seconds + slope * max(0.0, rows - low)
        return math.inf

    def rows_in(self, seconds: float) -> float:
        """How many rows take so long, at least one; infinite if no number of them does."""
        for low, below, high, slope in self._lines:
            if slope and seconds <= below + slope * (high - low):
                return low + max(0.0, seconds - below) / slope
        return math.inf

    @cached_property
    def _lines(self) -> list[tuple[float, float, float, float]]:
        """From which size with how many seconds to which size, and how steep; the last goes on for ever. Several are
        asked for with every request."""
        points = sorted(self.seconds.items())
        if len(points) == 1:
            [(size, seconds)] = points
            return [(size, seconds, math.inf, seconds / size)]
        lines = [
            (low, below, high, max(0.0, above - below) / (high - low))
            for (low, below), (high, above) in pairwise(points)
        ]
        if not lines:
            return []
        size, seconds = points[-1]
        low, below, _, slope = lines[-1]
        # However many rows there are, more of them take longer, even if the largest batch happened to be the quickest.
        return [*lines[:-1], (low, below, math.inf, slope or seconds / size)]


def measure(session: ort.InferenceSession, rows: Inputs | None) -> Profile:
    """`rows` are examples that the model takes; without them random ones are tried. Raises MemoryError.

    Rows are merged only if the model has a batch axis throughout, answers each row of a batch as it answers the row
    alone, and does it in less time.
    """
    batched = has_batch_axis(session)
    try:
        one = _take(rows, 1) if rows else random_rows(session, 1)
        seconds = {1: _seconds(session, one, 1)}
    except Exception as error:  # onnxruntime has no common class; examples that we made up may be none
        raise_lack_of_memory(error)
        return Profile({}, False, False, f"not merged: made-up rows cannot be run ({_first_line(error)})", batched)
    independent, reason = _judge(session, rows, seconds) if batched else (False, "it has no batch axis")
    saved = 1 - min(seconds[size] / size for size in seconds) / seconds[1]
    merges = independent and saved >= WORTH
    if independent:
        reason = f"rows cost {saved:.0%} less together" if merges else "rows cost no less together"
    reason = f"{'merged' if merges else 'not merged'}: {reason}"
    profile = _with_texts(Profile(seconds, independent, merges, reason, batched), session, one)
    run_and_shrink(session, one)
    return profile


def provisional(session: ort.InferenceSession, rows: Inputs, seconds: float) -> Profile:
    """Until it is measured: what one of these rows took, and nothing is put together."""
    profile = Profile({1: seconds}, False, False, "not merged: not measured yet", has_batch_axis(session))
    return replace(_counted(profile, _take(rows, 1)), provisional=True)


def _judge(session: ort.InferenceSession, rows: Inputs | None, seconds: dict[int, float]) -> tuple[bool, str]:
    """Whether rows are independent, and if not, why it is not known or not so. Adds larger batches to `seconds`."""
    if seconds[1] > SLOW_SECONDS:
        return False, f"one row takes {seconds[1]:.2g} s"
    try:
        examples = rows or random_rows(session)
        # Rows that are all the same would not show that a model mixes them.
        different = examples if _differ(examples) else random_rows(session)
        if not _answers_rows_alone(session, _take(different, 4)):
            return False, "it answers a row differently in a batch"
        for size in SIZES[1:]:
            seconds[size] = _seconds(session, _take(examples, size), size)
    except Exception as error:
        raise_lack_of_memory(error)
        return False, f"it cannot run a batch ({_first_line(error)})"
    return True, ""


def has_batch_axis(session: ort.InferenceSession) -> bool:
    """Whether the first axis of every input and output is open, as a batch's is."""
    nodes = [*session.get_inputs(), *session.get_outputs()]
    return all(node.shape and not isinstance(node.shape[0], int) for node in nodes)


def random_rows(session: ort.InferenceSession, rows: int = 4) -> dict[str, Array]:
    """Something of the right type and shape; open axes other than the first are 1."""
    generator = np.random.default_rng(0)
    made = {}
    for node in session.get_inputs():
        shape = [
            size if isinstance(size, int) else rows if place == 0 else 1 for place, size in enumerate(node.shape or [])
        ]
        made[node.name] = _random(generator, node.type, shape)
    return made


def _random(generator: "np.random.Generator", datatype: str, shape: Sequence[int]) -> Array:
    kind = datatype.removeprefix("tensor(").removesuffix(")")
    if kind == "string":
        return generator.integers(0, 10, shape).astype(str).astype(object)
    if kind in ("float", "double", "float16"):
        return generator.normal(size=shape).astype({"float": "f4", "double": "f8", "float16": "f2"}[kind])
    return generator.integers(0, 2, shape).astype(kind)


def _take(examples: Inputs, rows: int) -> dict[str, Array]:
    """So many rows, the examples over and over."""
    return {name: np.resize(array, (rows, *array.shape[1:])) for name, array in examples.items()}


def _differ(examples: Inputs) -> bool:
    return any((array != array[:1]).any() for array in examples.values())


def _seconds(session: ort.InferenceSession, inputs: Inputs, size: int) -> float:
    feed, times = dict(inputs), list[float]()
    while len(times) <= REPEATS[size] and sum(times) < ENOUGH_SECONDS:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(time.perf_counter() - start)
    return min(times)


def _with_texts(profile: Profile, session: ort.InferenceSession, one: Inputs) -> Profile:
    """Measures what longer texts take, and makes as many rows of it as take that long."""
    profile, short, texts = _counted(profile, one), _elements(one, 0), _texts(one)
    if not texts or profile.seconds[1] > SLOW_SECONDS:
        return profile
    longer = {name: _lengthened(array) if array.dtype == object else array for name, array in one.items()}
    try:
        more = profile.rows_in(_seconds(session, longer, 1)) - 1
    except Exception:  # onnxruntime has no common class; a number, say, that is written sixteen times is none
        return profile
    elements = max(short, (_elements(longer, 0) - short) / more if more > 0 else math.inf)
    text_base = (elements - short) / texts
    return replace(profile, row_elements=max(1.0, elements), text_base=text_base) if text_base < ANY_LENGTH else profile


def _counted(profile: Profile, one: Inputs) -> Profile:
    """With what is in a row of these; a text counts the same at any length."""
    short, texts = _elements(one, 0), _texts(one)
    if not texts:
        return replace(profile, row_elements=max(1.0, short))
    return replace(profile, row_elements=short + texts * ANY_LENGTH, text_base=ANY_LENGTH)


def _texts(one: Inputs) -> int:
    return sum(array.size for array in one.values() if array.dtype == object)


def _lengthened(texts: Array) -> Array:
    times = [max(LONGER, math.ceil(LONG_TEXT / max(1, len(text)))) for text in texts.flat]
    longer = [(text or " ") * many for text, many in zip(texts.flat, times, strict=True)]
    return np.array(longer, object).reshape(texts.shape)


def _elements(inputs: Inputs, text_base: float) -> float:
    """Numbers, and characters; each text counts for `text_base` more."""
    return sum(
        [
            sum(map(len, array.flat)) + text_base * array.size if array.dtype == object else array.size
            for array in inputs.values()
        ]
    )


def _answers_rows_alone(session: ort.InferenceSession, batch: Inputs) -> bool:
    together = session.run(None, dict(batch))
    rows = len(next(iter(batch.values())))
    for row in range(rows):
        alone = session.run(None, {name: array[row : row + 1] for name, array in batch.items()})
        pairs = zip(together, alone, strict=True)
        if not all(len(many) == rows and _same(many[row : row + 1], one) for many, one in pairs):
            return False
    return True


def _same(many: Array, one: Array) -> bool:
    if many.shape != one.shape:
        return False
    if are_pictures(many):
        return bool((np.abs(many.astype(np.int16) - one) <= 1).all())
    if many.dtype.kind in "fc":
        return bool(np.allclose(many, one, rtol=SAME, atol=SAME, equal_nan=True))
    return bool((many == one).all())


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
