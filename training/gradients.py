"""The demos of the gradient lab: `python -m training.gradients` writes each as an ONNX graph, for a service that has no
PyTorch.

A demo is a function of tensors that asks torch.autograd for gradients; training/programs.py makes a graph of it.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from app.card import Axis, DemoInput, DemoOutput, Numbers
from training.programs import Computed, Demo, leaf, program_of

WHERE = Path(__file__).resolve().parent.parent / "app" / "lab" / "demos"
MOST = 1e6  # of an input: no power that is taken here is infinite
UNTIL, DOUBLINGS = 1_000, 20  # the smallest norm that is allowed, doubled so often, is beyond it
LEAST_NORM = 0.001
MOST_TIMES = 10


def given(name: str, description: str, default: Numbers, *axes: str, most: float = MOST) -> DemoInput:
    return DemoInput(name=name, description=description, shape=list(axes), default=default, least=-most, most=most)


def told(name: str, description: str, *axes: str) -> DemoOutput:
    return DemoOutput(name=name, description=description, shape=list(axes))


def derivative(result: Tensor, *by: Tensor, upstream: Tensor | None = None, again: bool = False) -> list[Tensor]:
    """`again`: to be differentiated itself."""
    return list(torch.autograd.grad(result, by, upstream, retain_graph=True, create_graph=again))


def copies(x: Tensor) -> Tensor:
    """[n, n]: a leaf of which each row is x, so that one pass backwards goes in n directions."""
    return leaf(x.expand(x.shape[0], x.shape[0]))


def directions(x: Tensor) -> Tensor:
    return torch.eye(x.shape[0], dtype=x.dtype)


# --- graphs and derivatives ------------------------------------------------------------------------------------------


def first_backward_pass(x: Tensor) -> Computed:
    x = leaf(x)
    y = x + 2
    z = y * y * 3
    out = z.mean()
    by_x, by_y, by_z = derivative(out, x, y, z)
    outputs = {"y": y, "z": z, "out": out, "out_by_x": by_x, "out_by_y": by_y, "out_by_z": by_z}
    return Computed(outputs, {"x": x, "y": y, "z": z, "out": out}, ("out",))


def requires_gradient(x: Tensor, c: Tensor) -> Computed:
    x = leaf(x)
    product, constant = x * c, c * c
    with torch.no_grad():
        without = x * c
    detached = x.detach()
    through_detached = x * detached
    outputs = {
        "product": product,
        "constant": constant,
        "under_no_grad": without,
        "detached": detached,
        "equal": (detached == x).all(),
        "product_by_x": derivative(product.sum(), x)[0],
        "through_detached_by_x": derivative(through_detached.sum(), x)[0],
    }
    tensors = {
        **{"x": x, "c": c, "product": product, "constant": constant, "under_no_grad": without},
        **{"detached": detached, "through_detached": through_detached},
    }
    return Computed(outputs, tensors, ("product", "through_detached"))


def doubled(x: Tensor, v: Tensor) -> Computed:
    x = leaf(x)
    y, times = x * 2, 1
    while y.detach().norm() < UNTIL:
        y, times = y * 2, times + 1
    rows = [derivative(y, x, upstream=direction)[0] for direction in directions(x)]
    outputs = {
        **{"y": y, "doublings": torch.tensor(float(times), dtype=x.dtype)},
        **{"product": derivative(y, x, upstream=v)[0], "jacobian": torch.stack(rows)},
    }
    return Computed(outputs, {"x": x, "y": y})


def vector_jacobian(x: Tensor, v: Tensor) -> Computed:
    """The same without `while`: what it decides is masked. A row for v, and one for each number of the result, are
    doubled together, each as long as its own norm asks for it."""
    upstream = torch.cat([v[None], directions(x)])
    rows = leaf(x.expand(upstream.shape[0], x.shape[0]))
    y, times = rows * 2, torch.ones_like(rows[:, :1])
    for _ in range(DOUBLINGS - 1):
        short = y.detach().norm(dim=1, keepdim=True) < UNTIL
        y, times = torch.where(short, y * 2, y), times + short
    [arrived] = derivative(y, rows, upstream=upstream)
    outputs = {"y": y[0], "doublings": times[0, 0], "product": arrived[0], "jacobian": arrived[1:]}
    return Computed(outputs, {"x": rows, "y": y})


def sum_then_square(x: Tensor) -> Computed:
    x = leaf(x)
    s = x.sum()
    z = s**2
    by_x, by_s = derivative(z, x, s)
    return Computed({"s": s, "z": z, "z_by_x": by_x, "z_by_s": by_s}, {"x": x, "s": s, "z": z}, ("z",))


def several_derivatives(x: Tensor) -> Computed:
    x = leaf(x)
    y = x**2
    z = y**2
    z_by_x, z_by_y = derivative(z, x, y)
    [y_by_x] = derivative(y, x)
    outputs = {"y": y, "z": z, "z_by_x": z_by_x, "z_by_y": z_by_y, "y_by_x": y_by_x}
    return Computed(outputs, {"x": x, "y": y, "z": z}, ("z",))


def multiplied(x: Tensor, n: Tensor) -> Computed:
    x = leaf(x)
    result, times = torch.ones_like(x), 0
    for i in range(int(n)):
        if 1 < i < 5:
            result, times = result * x, times + 1
    by_x = derivative(result, x)[0] if times else torch.zeros_like(x)
    outputs = {"value": result, "multiplications": torch.tensor(float(times), dtype=x.dtype), "value_by_x": by_x}
    return Computed(outputs, {"x": x, "value": result})


def control_flow(x: Tensor, n: Tensor) -> Computed:
    """The same without `for` and `if`: what they choose is masked."""
    x = leaf(x)
    result, times = torch.ones_like(x), torch.zeros_like(x)
    for i in range(MOST_TIMES):
        chosen = (i < n) & (i > 1) & (i < 5)
        result, times = torch.where(chosen, result * x, result), times + chosen
    [by_x] = derivative(result, x)
    return Computed({"value": result, "multiplications": times, "value_by_x": by_x}, {"x": x, "value": result})


def higher_order(x: Tensor) -> Computed:
    x = leaf(x)
    y = x**3
    [first] = derivative(y, x, again=True)
    [second] = derivative(first, x, again=True)
    [third] = derivative(second, x)
    outputs = {"y": y, "first": first, "second": second, "third": third}
    return Computed(outputs, {"x": x, "y": y, "first": first, "second": second, "third": third}, ("y",))


def hessian(x: Tensor) -> Computed:
    """The gradient's numbers are differentiated each by itself, by a row of its own."""
    rows = copies(x)
    y = rows.logsumexp(1)
    [gradient] = derivative(y.sum(), rows, again=True)
    [second] = derivative(gradient, rows, upstream=directions(x))
    tensors = {"x": rows, "y": y, "gradient": gradient, "hessian": second}
    return Computed({"y": y[0], "gradient": gradient[0], "hessian": second}, tensors)


# --- one node --------------------------------------------------------------------------------------------------------


def through(operation: Callable[..., Tensor], *names: str) -> Callable[..., Computed]:
    """Of a node with one number as its value: the derivatives by its inputs, and what arrives there when `upstream`,
    the last of the tensors, arrives at the node."""

    def function(*tensors: Tensor) -> Computed:
        leaves, upstream = [leaf(each) for each in tensors[:-1]], tensors[-1]
        value = operation(*leaves)
        outputs = {"value": value}
        for name, local in zip(names, derivative(value, *leaves), strict=True):
            outputs[f"local_{name}"] = local
        for name, arrived in zip(names, derivative(value, *leaves, upstream=upstream), strict=True):
            outputs[f"downstream_{name}"] = arrived
        return Computed(outputs, {**dict(zip(names, leaves, strict=True)), "value": value}, ("value",))

    return function


def node(
    name: str, title: str, mathematics: str, operation: Callable[..., Tensor], *inputs: DemoInput, upstream: float = 1
) -> Demo:
    names = [each.name for each in inputs]
    return Demo(
        name,
        title,
        f"{mathematics} Downstream is upstream times local, by each input.",
        through(operation, *names),
        (*inputs, given("upstream", "The gradient that arrives at the node.", upstream)),
        (
            told("value", "What the node computes."),
            *(
                told(f"local_{each.name}", f"The derivative of the node by {each.name}.", *each.shape)
                for each in inputs
            ),
            *(
                told(f"downstream_{each.name}", f"The gradient that goes on to {each.name}.", *each.shape)
                for each in inputs
            ),
        ),
        {axis: Axis(least=1, most=20) for each in inputs for axis in each.shape},
    )


def fan_out(x: Tensor, upstream: Tensor) -> Computed:
    x = leaf(x)
    used = x.expand(upstream.shape[0])
    [arrived] = derivative(used, x, upstream=upstream)
    return Computed({"used": used.clone(), "downstream_x": arrived}, {"x": x, "used": used}, ("used",))


def weighted_sum(w: Tensor, x: Tensor, b: Tensor) -> Tensor:
    return (w * x).sum() + b


def perceptron(x: Tensor, w: Tensor, b: Tensor) -> Computed:
    x, w, b = leaf(x), leaf(w), leaf(b)
    products = w * x
    f = products.sum() + b
    step = (f > 0).to(f.dtype)
    probability = f.sigmoid()
    by_f, by_w, by_x, by_b = derivative(probability, f, w, x, b)
    outputs = {
        **{"products": products, "f": f, "step": step, "probability": probability},
        **{"probability_by_f": by_f, "probability_by_w": by_w, "probability_by_x": by_x, "probability_by_b": by_b},
    }
    tensors = {"x": x, "w": w, "b": b, "products": products, "f": f, "step": step, "probability": probability}
    return Computed(outputs, tensors, ("probability",))


# --- what there is ---------------------------------------------------------------------------------------------------

MATRIX = {"rows": Axis(least=1, most=20), "columns": Axis(least=1, most=20)}
ONES: Numbers = [[1.0, 1.0], [1.0, 1.0]]

DEMOS = (
    Demo(
        "first-backward-pass",
        "A first pass backwards",
        "y = x + 2, z = 3y², out = mean(z). By the chain rule ∂out/∂x = 6(x + 2)/N for N numbers: 4.5 for four ones.",
        first_backward_pass,
        (given("x", "A matrix.", ONES, "rows", "columns"),),
        (
            told("y", "x + 2.", "rows", "columns"),
            told("z", "3y².", "rows", "columns"),
            told("out", "The mean of z."),
            told("out_by_x", "∂out/∂x.", "rows", "columns"),
            told("out_by_y", "∂out/∂y.", "rows", "columns"),
            told("out_by_z", "∂out/∂z: each of the N numbers has a part of 1/N in the mean.", "rows", "columns"),
        ),
        MATRIX,
    ),
    Demo(
        "requires-gradient",
        "Does a result require a gradient?",
        "A result requires a gradient if something that it is computed from does, unless it is computed under "
        "no_grad. A detached copy has equal numbers and no history: in x · detached(x) it counts as a constant.",
        requires_gradient,
        (
            given("x", "Requires a gradient.", [1.0, 2.0, 3.0], "n"),
            given("c", "Requires none.", [4.0, 5.0, 6.0], "n"),
        ),
        (
            told("product", "x · c, element by element: requires a gradient.", "n"),
            told("constant", "c · c: requires none.", "n"),
            told("under_no_grad", "x · c under no_grad: the same numbers, and requires none.", "n"),
            told("detached", "x, detached.", "n"),
            told("equal", "Whether the detached copy equals x."),
            told("product_by_x", "∂(Σ x · c)/∂x = c.", "n"),
            told("through_detached_by_x", "∂(Σ x · detached(x))/∂x = x, and not 2x.", "n"),
        ),
        {"n": Axis(least=1, most=100)},
    ),
    Demo(
        "vector-jacobian",
        "A vector as result: vector–Jacobian product",
        "y = 2x, then doubled while ‖y‖ < 1,000. After k doublings ∂y/∂x is 2ᵏ times the identity, and v times it is "
        "2ᵏv. The numbers decide how often, and no gradient goes through that question.",
        vector_jacobian,
        (
            DemoInput(
                name="x",
                description="A vector; the shorter, the more often it is doubled.",
                shape=["n"],
                default=[0.5, -1.0, 2.0],
                least=-MOST,
                most=MOST,
                least_norm=LEAST_NORM,
            ),
            given("v", "The vector that the Jacobian is multiplied with, from the left.", [0.1, 1.0, 0.0001], "n"),
        ),
        (
            told("y", "x, doubled.", "n"),
            told("doublings", "How often."),
            told("product", "v times the Jacobian: the gradient of v · y by x.", "n"),
            told("jacobian", "∂y/∂x, a row for each number of y.", "n", "n"),
        ),
        {"n": Axis(least=1, most=20)},
        ({"x": [3.0, 4.0], "v": [1.0, -1.0]}, {"x": [600.0, 800.0], "v": [1.0, 1.0]}, {"x": [LEAST_NORM], "v": [1.0]}),
        doubled,
    ),
    Demo(
        "sum-then-square",
        "The square of a sum",
        "z = (Σx)², so that ∂z/∂x = 2Σx, the same for each number: 8 for four ones.",
        sum_then_square,
        (given("x", "A matrix.", ONES, "rows", "columns"),),
        (
            told("s", "Σx."),
            told("z", "s²."),
            told("z_by_x", "∂z/∂x.", "rows", "columns"),
            told("z_by_s", "∂z/∂s = 2s."),
        ),
        MATRIX,
    ),
    Demo(
        "several-derivatives",
        "One graph, several derivatives",
        "y = x², z = y². Of one graph ∂z/∂x = 4x³, ∂z/∂y = 2y and ∂y/∂x = 2x: 108, 18 and 6 at x = 3.",
        several_derivatives,
        (given("x", "A number.", 3.0),),
        (
            told("y", "x²."),
            told("z", "y²."),
            told("z_by_x", "∂z/∂x."),
            told("z_by_y", "∂z/∂y."),
            told("y_by_x", "∂y/∂x."),
        ),
    ),
    Demo(
        "control-flow",
        "Through loops and conditions",
        "f(x, n) = 1, multiplied by x for each i from 0 to n − 1 with 1 < i < 5. What is differentiated is what was "
        "computed: x³ if n is 5 or more, x² for 4, x for 3, and 1 below. At x = 2 the derivatives are 12, 4, 1 and 0.",
        control_flow,
        (
            given("x", "A number.", 2.0),
            DemoInput(
                name="n",
                description="How many rounds the loop has.",
                shape=[],
                default=6,
                least=0,
                most=MOST_TIMES,
                whole=True,
            ),
        ),
        (
            told("value", "f(x, n)."),
            told("multiplications", "In how many rounds it was multiplied by x."),
            told("value_by_x", "∂f/∂x."),
        ),
        {},
        tuple({"x": 2.0, "n": n} for n in range(MOST_TIMES)),
        multiplied,
    ),
    Demo(
        "higher-order",
        "Derivatives of derivatives",
        "y = x³. A derivative is computed by a graph, too, and can be differentiated again: 3x², 6x and 6.",
        higher_order,
        (given("x", "A number.", 1.0),),
        (
            told("y", "x³."),
            told("first", "dy/dx = 3x²."),
            told("second", "d²y/dx² = 6x."),
            told("third", "d³y/dx³ = 6."),
        ),
    ),
    Demo(
        "hessian",
        "All second derivatives",
        "y = log Σ exp(x). Its gradient is p = softmax(x), its Hessian diag(p) − ppᵀ.",
        hessian,
        (given("x", "A vector.", [0.0, 1.0, 2.0], "n", most=500),),
        (
            told("y", "log Σ exp(x)."),
            told("gradient", "∂y/∂x: positive numbers whose sum is 1.", "n"),
            told("hessian", "∂²y/∂x∂x: symmetric, and its rows add up to 0.", "n", "n"),
        ),
        {"n": Axis(least=1, most=20)},
    ),
    node(
        "node-multiply",
        "Backwards through a multiplication",
        "a · b: the derivative by each factor is the other one.",
        torch.mul,
        given("a", "A factor.", 3.0),
        given("b", "A factor.", -4.0),
        upstream=2,
    ),
    node(
        "node-add",
        "Backwards through an addition",
        "a + b: both derivatives are 1, and the gradient is handed on as it is.",
        torch.add,
        given("a", "A summand.", 3.0),
        given("b", "A summand.", -4.0),
        upstream=2,
    ),
    node(
        "node-sigmoid",
        "Backwards through a sigmoid",
        "σ(x) = 1/(1 + exp(−x)), and σ' = σ(1 − σ): 0.25 at 0, where it is largest.",
        torch.sigmoid,
        given("x", "A number.", 0.0),
        upstream=2,
    ),
    node(
        "node-max",
        "Backwards through a maximum",
        "max(a, b): the whole gradient goes to the larger one. At a tie PyTorch gives each one half.",
        torch.maximum,
        given("a", "A number.", 3.0),
        given("b", "A number.", -4.0),
        upstream=2,
    ),
    node(
        "node-relu",
        "Backwards through a ReLU",
        "max(x, 0): the derivative is 1 above 0, else 0. At 0 there is none, and PyTorch takes 0.",
        torch.relu,
        given("x", "A number.", 3.0),
        upstream=2,
    ),
    Demo(
        "node-fan-out",
        "Backwards to a number that is used several times",
        "x is used n times, and an upstream gradient comes back from each use: downstream is their sum.",
        fan_out,
        (
            given("x", "A number.", 3.0),
            given("upstream", "The gradient that comes back from each use.", [2.0, -1.0, 4.0], "uses"),
        ),
        (
            told("used", "x, as each use has it.", "uses"),
            told("downstream_x", "The sum of the upstream gradients."),
        ),
        {"uses": Axis(least=1, most=20)},
    ),
    node(
        "neuron",
        "Backwards through a neuron",
        "f = w · x + b: the derivative by w is x, by x it is w, and by b it is 1.",
        weighted_sum,
        given("w", "Weights.", [2.0, -3.0], "n"),
        given("x", "What it is told.", [-1.0, -2.0], "n"),
        given("b", "The bias.", -3.0),
        upstream=2,
    ),
    Demo(
        "perceptron",
        "A perceptron decides",
        "f = w · x + b; the decision is yes if f > 0. That step has no derivative to learn by: 0 everywhere but at 0, "
        "where it has none. The sigmoid of f has one, σ'(f), which goes on to w by x, to x by w, and to b.",
        perceptron,
        (
            given(
                "x",
                "What it decides by: 1 for yes, 0 for no, by any names.",
                {"clouds": 1, "forecast": 1, "short_way": 1},
                "n",
            ),
            given(
                "w",
                "How much each counts, and for what, by the same names.",
                {"clouds": 2.0, "forecast": 4.0, "short_way": -3.0},
                "n",
            ),
            given("b", "The bias: yes if the rest is beyond −b.", -2.5),
        ),
        (
            told("products", "What each input adds: w · x.", "n"),
            told("f", "Their sum, and b."),
            told("step", "The decision: 1 if f > 0, else 0."),
            told("probability", "σ(f): 0.5 where the step is."),
            told("probability_by_f", "σ'(f) = σ(1 − σ)."),
            told("probability_by_w", "∂σ/∂w.", "n"),
            told("probability_by_x", "∂σ/∂x.", "n"),
            told("probability_by_b", "∂σ/∂b."),
        ),
        {"n": Axis(least=1, most=20)},
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.gradients", description="Export the gradient demos.")
    parser.add_argument("--out", type=Path, default=WHERE, help="the folder to write into (default: app/lab/demos)")
    out: Path = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    for demo in DEMOS:
        program = program_of(demo)
        (out / f"{demo.name}.onnx").write_bytes(program)
        print(f"{out / demo.name}.onnx: {len(program):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
