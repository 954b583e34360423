"""Convolution and pooling against PyTorch's layers, known pictures by hand, hostile requests refused."""

import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import orjson
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from app.convolve import OF_MATRIX
from app.errors import AppError
from app.lab.convolution_answer import kernel_list, shades, stages
from app.lab.convolution_answer import told as told_of
from app.lab.convolution_request import MOST_BYTES, MOST_SIDE, read_convolution
from app.lab.kernels import kernels
from tests.processor import least_seconds


def ask(**members: Any) -> dict[str, Any]:
    """As it goes out: through JSON."""
    read: dict[str, Any] = orjson.loads(orjson.dumps(told_of(stages(read_convolution(orjson.dumps(members))))))
    return read


def refused(**members: Any) -> tuple[int, str]:
    with pytest.raises(AppError) as caught:
        ask(**members)
    return caught.value.status, caught.value.detail


def assert_close(told: dict[str, Any], theirs: torch.Tensor) -> None:
    ours = torch.tensor(told["values"], dtype=torch.float64)
    assert told["shape"] == list(theirs.shape)
    assert (told["least"], told["greatest"]) == (float(ours.min()), float(ours.max()))
    scale = max(1.0, float(theirs.abs().max()))
    assert float((ours - theirs).abs().max()) <= 1e-12 * scale


sides = st.integers(1, 12)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")  # it copies; so be it
@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    shape=st.tuples(sides, sides),
    kernel_shape=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    padding=st.one_of(st.just("same"), st.integers(0, 4)),
    stride=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_convolution_is_that_of_torch(
    shape: tuple[int, int], kernel_shape: tuple[int, int], padding: int | str, stride: int, seed: int
) -> None:
    stride = 1 if padding == "same" else stride
    around = 0 if padding == "same" else 2 * int(padding)
    assume(padding == "same" or all(k <= n + around for k, n in zip(kernel_shape, shape, strict=True)))
    generator = torch.Generator().manual_seed(seed)
    matrix, kernel = (torch.randn(each, generator=generator, dtype=torch.float64) for each in (shape, kernel_shape))

    told = ask(matrix=matrix.tolist(), kernel=kernel.tolist(), padding=padding, stride=stride)["convolution"]
    theirs = functional.conv2d(matrix[None, None], kernel[None, None], stride=stride, padding=padding)[0, 0]

    assert_close(told, theirs)
    assert told["kernel"]["values"] == kernel.tolist()


@settings(max_examples=600, deadline=None, derandomize=True, database=None)
@given(
    shape=st.tuples(sides, sides),
    size=st.integers(1, 8),
    stride=st.integers(1, 9),
    distinct=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooling_is_that_of_torch(shape: tuple[int, int], size: int, stride: int, distinct: bool, seed: int) -> None:
    """Of numbers that are often equal, too: then the place of the first wins."""
    assume(size <= min(shape))
    generator = torch.Generator().manual_seed(seed)
    if distinct:
        matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    else:
        matrix = torch.randint(-1, 2, shape, generator=generator).double()
    greatest, places = functional.max_pool2d(matrix[None, None], size, stride, return_indices=True)

    pooled = ask(matrix=matrix.tolist(), pooling={"kind": "max", "size": size, "stride": stride})["pooling"]
    average = ask(matrix=matrix.tolist(), pooling={"kind": "average", "size": size, "stride": stride})["pooling"]
    winners = np.array(pooled["winners"])

    assert pooled["values"] == greatest[0, 0].tolist()
    assert (winners[..., 0] * shape[1] + winners[..., 1]).tolist() == places[0, 0].tolist()
    assert_close(average, functional.avg_pool2d(matrix[None, None], size, stride)[0, 0])
    assert average["winners"] is None


def test_both_follow_each_other_as_in_torch() -> None:
    matrix = torch.arange(70, dtype=torch.float64).reshape(7, 10).sin()
    told = ask(
        matrix=matrix.tolist(), kernel="emboss", padding=2, stride=2, pooling={"kind": "max", "size": 3, "stride": 1}
    )
    kernel = torch.tensor([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], dtype=torch.float64)
    convolved = functional.conv2d(matrix[None, None], kernel[None, None], stride=2, padding=2)

    assert_close(told["convolution"], convolved[0, 0])
    assert_close(told["pooling"], functional.max_pool2d(convolved, 3, 1)[0, 0])
    assert told["convolution"]["padding"] == {"top": 2, "bottom": 2, "left": 2, "right": 2}


def test_edge_by_hand() -> None:
    """Dark on the left, bright on the right: Sobel's kernel sees it where it is, and with its sign."""
    step = [[0, 0, 9, 9]] * 3
    told = ask(matrix=step, kernel="sobel-x")
    back = ask(matrix=[row[::-1] for row in step], kernel="sobel-x")

    assert told["convolution"]["values"] == [[36, 36]]
    assert back["convolution"]["values"] == [[-36, -36]]
    assert ask(matrix=step, kernel="sobel-y")["convolution"]["values"] == [[0, 0]]


def test_a_window_strides_as_far_as_it_is_wide_unless_told() -> None:
    matrix = [[1, 2, 5, 6], [3, 4, 7, 8]]

    assert ask(matrix=matrix, pooling={"kind": "max"})["pooling"] | {"winners": 0} == {
        **{"shape": [1, 2], "least": 4, "greatest": 8, "values": [[4, 8]]},
        **{"kind": "max", "size": 2, "stride": 2, "winners": 0},
    }
    assert ask(matrix=matrix, pooling={"kind": "average", "stride": 1})["pooling"]["values"] == [[2.5, 4.5, 6.5]]


def test_kernels_of_image_processing_are_what_they_are_called() -> None:
    """Those that blur keep what is even, those that differentiate make it 0; x and y are each other turned over."""
    sums = {name: float(kernel.values.sum()) for name, kernel in kernels().items() if "/" not in name}
    flat = {"sobel-x", "sobel-y", "scharr-x", "scharr-y", "prewitt-x", "prewitt-y", "laplacian", "edge"}

    assert {name for name, total in sums.items() if total == 0} == flat
    assert {name for name, total in sums.items() if abs(total - 1) < 1e-15} == sums.keys() - flat
    for name in ("sobel", "scharr", "prewitt"):
        assert np.array_equal(kernels()[f"{name}-x"].values, kernels()[f"{name}-y"].values.T)


def test_every_kernel_in_the_list_works_by_its_name() -> None:
    matrix = torch.randn((9, 9), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    listed = kernel_list()["kernels"]

    assert len(listed) == 14 + 32 + 6 + 32
    for kernel in listed:
        told = ask(matrix=matrix.tolist(), kernel=kernel["name"])["convolution"]
        weights = torch.tensor(kernel["values"], dtype=torch.float64)
        assert kernel["description"]
        assert told["kernel"] == kernel
        assert_close(told, functional.conv2d(matrix[None, None], weights[None, None])[0, 0])


@pytest.mark.parametrize(
    ("values", "grays"),
    [
        ([[-3, 0, 3]], [[0, 128, 255]]),
        ([[0, 255, 51]], [[0, 255, 51]]),
        ([[7, 7]], [[128, 128]]),
        ([[0.3, 0.1 + 0.2]], [[128, 128]]),
        ([[-1e100, 1e100]], [[0, 255]]),
    ],
)
def test_least_number_is_black_and_greatest_white(values: Any, grays: Any) -> None:
    assert shades(np.array(values, np.float64)).tolist() == grays


MATRIX = [[0.0] * 4] * 4
WHOLE = "allowed is a whole number of"


@pytest.mark.parametrize(
    ("members", "status", "detail"),
    [
        ({}, 422, "the body has no matrix; allowed is an object with matrix and, if wanted, kernel, padding, stride"),
        ({"matrix": MATRIX}, 422, "there is neither a kernel nor pooling; allowed is one of them, or both"),
        ({"matrix": MATRIX, "kernels": "edge"}, 422, 'the body has a member "kernels" that is not read here'),
        ({"matrix": [1, 2], "kernel": [[1]]}, 422, "matrix is [1,2]; allowed is a list of rows of one length"),
        ({"matrix": 1, "kernel": [[1]]}, 422, "matrix is 1; allowed is a list of rows of one length"),
        ({"matrix": [], "kernel": [[1]]}, 422, "matrix is empty"),
        ({"matrix": [[]], "kernel": [[1]]}, 422, "matrix is empty"),
        ({"matrix": [[1, 2], [3]], "kernel": [[1]]}, 422, "matrix has rows of several lengths"),
        ({"matrix": [["1"]], "kernel": [[1]]}, 422, 'matrix has "1" in it'),
        ({"matrix": [[True]], "kernel": [[1]]}, 422, "matrix has true in it"),
        ({"matrix": [[None]], "kernel": [[1]]}, 422, "matrix has null in it"),
        ({"matrix": [[-2e100]], "kernel": [[1]]}, 422, "matrix has 2e+100 in it; at most 1e+100 is allowed"),
        ({"matrix": [[1]], "kernel": [[1e101]]}, 422, "kernel has 1e+101 in it; at most 1e+100 is allowed"),
        ({"matrix": [[0] * 257], "kernel": [[1]]}, 413, "matrix has 1 × 257 numbers; at most 256 on a side"),
        ({"matrix": [[0] * 257] * 256, "kernel": [[1]]}, 413, "matrix has 65,792 numbers; at most 65,536 are allowed"),
        ({"matrix": MATRIX, "kernel": [[0]] * 16}, 413, "kernel has 16 × 1 numbers; at most 15 on a side"),
        ({"matrix": MATRIX, "kernel": "sobel"}, 422, 'there is no kernel "sobel"; there are: identity, box-blur'),
        ({"matrix": MATRIX, "kernel": "mnist-lenet/6"}, 422, "mnist-lenet/0 to mnist-lenet/5, fashion-cnn/0"),
        ({"matrix": MATRIX, "kernel": None}, 422, "kernel has null in it"),
        ({"matrix": [[1, 2]] * 2, "kernel": "edge"}, 422, "the kernel has 3 × 3 numbers and what it goes over 2 × 2;"),
        (
            {"matrix": [[1]], "kernel": [[1] * 4], "padding": 1},
            422,
            "the kernel has 1 × 4 numbers and what it goes over 3 × 3, padding included; allowed is one that",
        ),
        ({"matrix": MATRIX, "kernel": [[1]], "padding": -1}, 422, f'padding is -1; {WHOLE} 0 to 16, or "same"'),
        ({"matrix": MATRIX, "kernel": [[1]], "padding": True}, 422, f"padding is true; {WHOLE}"),
        ({"matrix": MATRIX, "kernel": [[1]], "padding": "full"}, 422, f'padding is "full"; {WHOLE}'),
        (
            {"matrix": MATRIX, "kernel": [[1]], "padding": "same", "stride": 2},
            422,
            'padding is "same" and stride 2; allowed is "same" with a stride of 1',
        ),
        ({"matrix": MATRIX, "kernel": [[1]], "stride": 0}, 422, f"stride is 0; {WHOLE} 1 to 16"),
        ({"matrix": MATRIX, "kernel": [[1]], "stride": 1.5}, 422, f"stride is 1.5; {WHOLE} 1 to 16"),
        ({"matrix": MATRIX, "pooling": {"kind": "max"}, "stride": 2}, 422, "there is a stride and no kernel"),
        ({"matrix": MATRIX, "pooling": {"kind": "max"}, "padding": 1}, 422, "there is a padding and no kernel"),
        ({"matrix": MATRIX, "pooling": "max"}, 422, 'pooling is "max"; allowed is an object with kind'),
        ({"matrix": MATRIX, "pooling": {}}, 422, 'pooling has no kind; allowed is "max" or "average"'),
        ({"matrix": MATRIX, "pooling": {"kind": ["max"]}}, 422, 'the kind of pooling is ["max"]; allowed is "max"'),
        ({"matrix": MATRIX, "pooling": {"kind": "max", "width": 2}}, 422, 'pooling has a member "width"; allowed are'),
        ({"matrix": MATRIX, "pooling": {"kind": "max", "size": 9}}, 422, f"pooling's size is 9; {WHOLE} 1 to 8"),
        ({"matrix": MATRIX, "pooling": {"kind": "max", "stride": 0}}, 422, f"pooling's stride is 0; {WHOLE} 1 to 16"),
        ({"matrix": MATRIX, "pooling": {"kind": "max", "size": 5}}, 422, "pooling's window has 5 × 5 numbers and what"),
    ],
)
def test_what_is_wrong_is_told(members: dict[str, Any], status: int, detail: str) -> None:
    found, told = refused(**members)

    assert found == status
    assert detail in re.sub(r"\s+", " ", told)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["kind", "size", "x"]), inner),
    max_leaves=12,
)
rows = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(st.floats(-1e100, 1e100), min_size=n, max_size=n), min_size=1)
)


@settings(max_examples=1_000, deadline=None, derandomize=True, database=None)
@given(
    members=st.fixed_dictionaries(
        {"matrix": rows | anything},
        optional={
            "kernel": rows | st.sampled_from(["edge", "mnist-lenet/5"]) | anything,
            "padding": st.just("same") | anything,
            "stride": anything,
            "pooling": st.just({"kind": "max"}) | anything,
        },
    )
)
def test_whatever_comes_is_refused_or_answered_with_numbers(members: dict[str, Any]) -> None:
    try:
        told = ask(**members)
    except AppError as error:
        assert error.status in (413, 422)
        return
    for stage in told.values():
        assert stage is None or all(isinstance(each, float) for row in stage["values"] for each in row)


def largest(**members: Any) -> bytes:
    """With numbers of so many digits that the body is almost as long as it may be."""
    numbers = np.random.default_rng(0).uniform(1, 9, (MOST_SIDE, MOST_SIDE))
    matrix = ",".join(f"[{','.join(f'{number:.26f}' for number in row)}]" for row in numbers)
    return b'{"matrix":[%b],%b' % (matrix.encode(), orjson.dumps(members)[1:])


KERNEL = np.random.default_rng(1).normal(size=(15, 15)).tolist()
WORST = {
    "pooling alone": largest(pooling={"kind": "max", "size": 1}),
    "most numbers": largest(kernel=[[0.3]], padding=16, pooling={"kind": "max", "size": 1}),
    "most numbers, averaged": largest(kernel=[[0.3]], padding=16, pooling={"kind": "average", "size": 1}),
    "most work": largest(kernel=KERNEL, padding=16, pooling={"kind": "max", "size": 8, "stride": 1}),
    "most work, averaged": largest(kernel=KERNEL, padding=16, pooling={"kind": "average", "size": 8, "stride": 1}),
}


def answer(body: bytes) -> bytes:
    """All that a thread does."""
    return OF_MATRIX.written(OF_MATRIX.answer(OF_MATRIX.read(body), lambda: None))


@pytest.mark.alone
@pytest.mark.parametrize("body", WORST.values(), ids=WORST)
def test_largest_request_takes_hundredths_of_a_second(body: bytes) -> None:
    assert 1_700_000 < len(body) <= MOST_BYTES
    assert len(orjson.loads(answer(body))["pooling"]["values"]) >= 256
    assert least_seconds(lambda: answer(body), 0.05) <= 0.05


@pytest.mark.alone
@pytest.mark.parametrize("body", WORST.values(), ids=WORST)
def test_largest_request_lets_other_threads_go_on(body: bytes) -> None:
    """The event loop is one. No more than a few of the turns that Python's threads take, each of 5 ms."""
    assert min(longest_pause_beside(lambda: answer(body)) for _ in range(7)) <= 0.02


def longest_pause_beside(work: Callable[[], object]) -> float:
    """Seconds between two looks at the clock, by a thread that wants to look all the time."""
    pauses, begun, ended = [0.0], threading.Event(), threading.Event()

    def look() -> None:
        last = time.perf_counter()
        while not ended.is_set():
            time.sleep(0.0002)
            now = time.perf_counter()
            pauses.append(now - last)
            last = now
            begun.set()

    with ThreadPoolExecutor(1) as looking:
        looked = looking.submit(look)
        assert begun.wait(10)
        work()
        ended.set()
        looked.result(10)
    return max(pauses)
