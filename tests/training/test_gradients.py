"""The demos of the gradient lab as graphs: against PyTorch as they are written, and against what is committed."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from app.card import DemoCard, Numbers, read_demo_card
from training import gradients
from training.export import opened
from training.programs import Computed, Demo, compute, leaf, program_of, tensor_facts

DEMOS = {demo.name: demo for demo in gradients.DEMOS}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written") / "demos"
    assert gradients.main(["--out", str(folder)]) == 0
    return folder


def card_in(file: Path) -> DemoCard:
    card = read_demo_card({prop.key: prop.value for prop in onnx.load(file).metadata_props})
    assert card is not None
    return card


def drawn(demo: Demo, seed: int) -> dict[str, Numbers]:
    """Any numbers, as many along each axis as there may be or fewer."""
    generator = np.random.default_rng(seed)
    sizes = {name: int(generator.integers(axis.least, axis.most, endpoint=True)) for name, axis in demo.axes.items()}
    values: dict[str, Any] = {}
    for each in demo.inputs:
        shape = [sizes[axis] for axis in each.shape]
        scale = min(each.most, 10.0 ** generator.integers(-1, 4))
        values[each.name] = (generator.uniform(-1, 1, shape) * scale).tolist()
        if each.whole:
            values[each.name] = int(generator.integers(each.least, each.most, endpoint=True))
    return values


def by_graph(file: Path, demo: Demo, values: dict[str, Numbers]) -> dict[str, Any]:
    types = {each.name: np.int64 if each.whole else np.float64 for each in demo.inputs}
    names = [each.name for each in demo.outputs]
    given = {name: np.array(value, types[name]) for name, value in values.items()}
    return dict(zip(names, opened(file.read_bytes()).run(names, given), strict=True))


def assert_same(ours: Any, theirs: torch.Tensor) -> None:
    wanted = theirs.detach().numpy()
    assert ours.shape == wanted.shape
    assert np.abs(ours.astype(float) - wanted).max() <= 1e-9 * max(1, np.abs(wanted.astype(float)).max())


@pytest.mark.parametrize("name", DEMOS)
def test_graph_gives_what_pytorch_gives_for_any_numbers(name: str) -> None:
    """As written with Python's loops and conditions where the graph is masked."""
    file = gradients.WHERE / f"{name}.onnx"
    for seed in range(40):
        values = drawn(DEMOS[name], seed)
        theirs = compute(DEMOS[name], values).outputs
        for output, ours in by_graph(file, DEMOS[name], values).items():
            assert_same(ours, theirs[output])


@pytest.mark.parametrize("n", range(gradients.MOST_TIMES + 1))
def test_masks_choose_as_loop_and_condition_do(n: int) -> None:
    file = gradients.WHERE / "control-flow.onnx"
    x = torch.tensor(1.7, dtype=torch.float64, requires_grad=True)
    value = torch.ones((), dtype=torch.float64)
    for i in range(n):
        if i > 1 and i < 5:
            value = value * x
    expected = torch.autograd.grad(value, x)[0] if value.requires_grad else torch.zeros(())
    ours = by_graph(file, DEMOS["control-flow"], {"x": 1.7, "n": n})

    assert_same(ours["value"], value)
    assert_same(ours["value_by_x"], expected)


@pytest.mark.parametrize("norm", [0.001, 0.5, 499.99, 500, 999, 1_000, 1e6])
def test_masks_double_as_while_does(norm: float) -> None:
    x = torch.tensor([0.6 * norm, -0.8 * norm], dtype=torch.float64)
    y, times = 2 * x, 1
    while y.norm() < 1_000:
        y, times = 2 * y, times + 1
    ours = by_graph(
        gradients.WHERE / "vector-jacobian.onnx", DEMOS["vector-jacobian"], {"x": x.tolist(), "v": [1.0, 0.0]}
    )

    assert ours["doublings"] == times
    assert ours["y"].tolist() == y.tolist()
    assert ours["jacobian"].tolist() == [[2.0**times, 0], [0, 2.0**times]]


def test_norm_that_is_allowed_is_doubled_beyond_the_limit() -> None:
    assert gradients.LEAST_NORM * 2**gradients.DOUBLINGS >= gradients.UNTIL


@pytest.mark.parametrize("name", DEMOS)
def test_committed_programs_are_what_the_command_writes(written: Path, name: str) -> None:
    committed = gradients.WHERE / f"{name}.onnx"
    values = drawn(DEMOS[name], 99)
    new, old = (by_graph(file, DEMOS[name], values) for file in (written / committed.name, committed))

    assert card_in(written / committed.name) == card_in(committed)
    assert all(np.array_equal(new[output], old[output]) for output in new)


def test_nothing_else_is_committed_and_all_of_it_is_small() -> None:
    sizes = {file.stem: file.stat().st_size for file in gradients.WHERE.iterdir()}

    assert sizes.keys() == DEMOS.keys()
    assert max(sizes.values()) < 30_000
    assert np.median(list(sizes.values())) < 5_000


@pytest.mark.parametrize("name", DEMOS)
def test_program_tells_no_paths_and_no_places(name: str) -> None:
    content = (gradients.WHERE / f"{name}.onnx").read_bytes()

    assert not any(word in content for word in (b"/work", b"/home", b"/tmp", b".py", b"site-packages"))


@pytest.mark.parametrize("name", DEMOS)
def test_default_is_within_what_is_allowed(name: str) -> None:
    for each in DEMOS[name].inputs:
        numbers = np.array(list(each.default.values()) if isinstance(each.default, dict) else each.default)
        assert numbers.ndim == len(each.shape)
        assert each.least <= numbers.min() and numbers.max() <= each.most
        assert np.linalg.norm(numbers) >= each.least_norm
        assert all(
            DEMOS[name].axes[axis].least <= size <= 20 for axis, size in zip(each.shape, numbers.shape, strict=True)
        )


def test_records_are_those_of_the_course() -> None:
    card = card_in(gradients.WHERE / "first-backward-pass.onnx")
    facts = {each.name: (each.leaf, each.requires_gradient, each.node) for each in card.tensors}

    assert facts == {
        "x": (True, True, None),
        "y": (False, True, "AddBackward0"),
        "z": (False, True, "MulBackward0"),
        "out": (False, True, "MeanBackward0"),
    }
    assert [(each.kind, each.leads_to, each.tensor) for each in card.nodes] == [
        ("MeanBackward0", [1], "out"),
        ("MulBackward0", [2], "z"),
        ("MulBackward0", [3, 3], None),
        ("AddBackward0", [4], "y"),
        ("AccumulateGrad", [], "x"),
    ]


def test_records_say_what_requires_a_gradient() -> None:
    card = card_in(gradients.WHERE / "requires-gradient.onnx")

    assert {each.name: (each.requires_gradient, each.leaf) for each in card.tensors} == {
        "x": (True, True),
        "c": (False, True),
        "product": (True, False),
        "constant": (False, True),
        "under_no_grad": (False, True),
        "detached": (False, True),
        "through_detached": (True, False),
    }


@pytest.mark.parametrize("name", DEMOS)
def test_each_node_comes_before_those_that_it_leads_to(name: str) -> None:
    nodes = card_in(gradients.WHERE / f"{name}.onnx").nodes

    assert [each.id for each in nodes] == list(range(len(nodes)))
    assert all(each.id < other for each in nodes for other in each.leads_to)
    reached = set(itertools.chain.from_iterable(each.leads_to for each in nodes))
    assert {each.tensor for each in nodes if each.id not in reached} <= {
        "out",
        "z",
        "y",
        "used",
        "value",
        "product",
    } | {
        "through_detached",
        "probability",
    }


def test_loops_record_what_python_went_through() -> None:
    card = card_in(gradients.WHERE / "control-flow.onnx")
    made_by = {(each.inputs["n"]): {fact.name: fact.node for fact in each.tensors} for each in card.examples}

    assert made_by[6] == {"x": None, "value": "MulBackward0"}
    assert made_by[2] == {"x": None, "value": None}
    assert (card.tensors, card.nodes) == ([], [])


@pytest.mark.parametrize("name", DEMOS)
def test_records_that_are_told_for_all_numbers_are_those_of_any(name: str) -> None:
    card = card_in(gradients.WHERE / f"{name}.onnx")
    if not card.tensors:
        assert all(each.tensors for each in card.examples)
        return
    for seed in range(20):
        recorded = compute(DEMOS[name], drawn(DEMOS[name], seed)).tensors
        assert [tensor_facts(each, tensor) for each, tensor in recorded.items()] == card.tensors


def test_any_function_of_tensors_becomes_a_program(tmp_path: Path) -> None:
    def cube(x: torch.Tensor) -> Computed:
        x = leaf(x)
        y = x**3
        return Computed({"y": y, "y_by_x": torch.autograd.grad(y, x)[0]}, {"x": x, "y": y}, ("y",))

    outputs = (gradients.told("y", "x³."), gradients.told("y_by_x", "3x²."))
    demo = Demo("cube", "A cube", "x³.", cube, (gradients.given("x", "A number.", 2.0),), outputs)
    (tmp_path / "cube.onnx").write_bytes(program_of(demo))

    assert by_graph(tmp_path / "cube.onnx", demo, {"x": -5.0}) == {"y": -125, "y_by_x": 75}
    assert card_in(tmp_path / "cube.onnx").examples[0].outputs == {"y": 8, "y_by_x": 12}
