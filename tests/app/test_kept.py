"""What is made of a model once, and by whom it is waited for. The models are real, what is made of them is not."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import ArtifactRejected, InvalidRequest, NotReady
from app.kept import Kept
from app.model import Model, load_model
from app.runtime import CPU
from tests.onnx_models import doubling_graph, write_model

PATIENCE = 10.0  # seconds after which a test is given up


def model(folder: Path, name: str) -> Model:
    return load_model(name, 1, write_model(folder, doubling_graph(), name), [CPU])


@pytest.fixture
def models(tmp_path: Path) -> list[Model]:
    return [model(tmp_path, name) for name in ("first", "second", "third")]


def test_is_made_once_and_the_last_ones_used_are_kept(models: list[Model]) -> None:
    made: list[str] = []
    kept = Kept(lambda each: made.append(each.name) or f"of {each.name}", most=2)  # type: ignore[func-returns-value]
    first, second, third = models

    assert kept.known(first) is None
    assert [kept.of(each) for each in (first, second, first, third, first, second)] == [
        f"of {name}" for name in ("first", "second", "first", "third", "first", "second")
    ]
    assert made == ["first", "second", "third", "second"]
    assert [kept.known(each) for each in models] == ["of first", "of second", None]


def test_who_wants_another_models_does_not_wait(models: list[Model]) -> None:
    first, second, _ = models
    begun, may_end = threading.Event(), threading.Event()

    def make(each: Model) -> str:
        if each is first:
            begun.set()
            assert may_end.wait(PATIENCE)
        return each.name

    kept = Kept(make)
    with ThreadPoolExecutor() as pool:
        slow = pool.submit(kept.of, first)
        assert begun.wait(PATIENCE)
        assert pool.submit(kept.of, second).result(PATIENCE) == "second"
        assert kept.known(first) is None
        may_end.set()
        assert slow.result(PATIENCE) == "first"


def test_all_who_want_it_at_once_get_the_one_that_is_made(models: list[Model]) -> None:
    together = threading.Barrier(4, timeout=PATIENCE)
    kept = Kept(lambda _: object())

    def ask() -> object:
        together.wait()
        return kept.of(models[0])

    with ThreadPoolExecutor(4) as pool:
        assert len({id(each.result(PATIENCE)) for each in [pool.submit(ask) for _ in range(4)]}) == 1


@pytest.mark.parametrize(("kind", "tries"), [(InvalidRequest, 1), (ArtifactRejected, 1), (NotReady, 3)])
def test_fault_of_the_model_itself_is_remembered(models: list[Model], kind: type[InvalidRequest], tries: int) -> None:
    tried: list[str] = []

    def make(each: Model) -> str:
        tried.append(each.name)
        raise kind(f"{each.name} is damaged")

    kept = Kept(make)
    for _ in range(3):
        with pytest.raises(kind, match=r"^first is damaged$"):
            kept.of(models[0])

    assert tried == ["first"] * tries
    with pytest.raises(kind, match=r"^second is damaged$"):
        kept.of(models[1])


def test_refusal_holds_as_long_as_what_was_seen_is_the_same(models: list[Model]) -> None:
    there: list[str] = []

    def make(_: Model) -> str:
        if not there:
            raise ArtifactRejected("there is none")
        return there[0]

    kept = Kept(make, seen=lambda _: len(there))
    with pytest.raises(ArtifactRejected):
        kept.of(models[0])
    there.append("it")

    assert kept.of(models[0]) == "it"


def test_first_who_needs_it_is_told_to_count_it(models: list[Model]) -> None:
    first, second, third = models

    def make(each: Model) -> str:
        if each is third:
            raise InvalidRequest("damaged")
        return each.name

    kept = Kept(make, most=1)
    assert [kept.announce(each) for each in (first, first, second)] == [True, False, True]
    kept.of(first)
    assert not kept.announce(first)
    kept.of(second)  # the first is dropped
    assert [kept.announce(each) for each in (first, second)] == [True, False]
    with pytest.raises(InvalidRequest):
        kept.of(third)
    assert not kept.announce(third)


def test_nothing_holds_a_model(tmp_path: Path) -> None:
    def make(each: Model) -> str:
        if each.name == "good":
            return each.name
        raise InvalidRequest("damaged")

    kept = Kept(make)
    good, bad = model(tmp_path, "good"), model(tmp_path, "bad")
    kept.of(good)
    kept.announce(model(tmp_path, "other"))
    with pytest.raises(InvalidRequest):
        kept.of(bad)
    del good, bad
    gc.collect()

    assert [len(each) for each in (kept._values, kept._refusals, kept._turns, kept._announced)] == [0] * 4
