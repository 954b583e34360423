"""What a caller of networks that follow a curve is answered. Knows no HTTP."""

from typing import Annotated

from pydantic import Field
from typing_extensions import TypedDict

from app.errors import GoOn
from app.lab import charts
from app.lab.approximation import fit, pieces, rmse
from app.lab.approximation_request import Asked
from app.lab.charts import Line
from app.lab.sampled_curve import sampled

# Test errors within this share above the smallest are as good.
AS_GOOD = 1.1
EXACT = 1e-9
DEEPEST = 8
# Networks in a picture, beside the curve.
MOST_DRAWN = 5
# Errors below this share of the largest are drawn there: what is learned by heart has none but rounding.
SMALLEST_DRAWN = 1e-3

UNDERFITS, FITS, OVERFITS = "underfits", "fits", "overfits"


class CurveTold(TypedDict):
    x: list[float]
    y: list[float]


class NetworkTold(TypedDict):
    """bias + Σ weights · relu(x − kinks), fitted to the samples by least squares."""

    units: Annotated[int, Field(description="Of the one hidden layer.")]
    train_error: Annotated[float, Field(description="Root of the mean squared difference from the samples.")]
    test_error: Annotated[float, Field(description="The same from the curve itself, without noise, on the grid.")]
    verdict: Annotated[
        str,
        Field(
            description=f"`{FITS}`: the test error is within {AS_GOOD - 1:.0%} of the smallest; else `{UNDERFITS}` "
            f"with fewer units than that, `{OVERFITS}` with more."
        ),
    ]
    kinks: list[float]
    weights: Annotated[list[float], Field(description="Each is by how much the slope changes at its kink.")]
    bias: float
    y: Annotated[list[float], Field(description="On the grid, `clean.x`.")]


class Depth(TypedDict):
    """As many ReLUs in layers of two, and in one layer."""

    layers: int
    units: int
    pieces: Annotated[
        int, Field(description="Straight pieces of the deep one, counted: it folds an interval again and again.")
    ]
    at_most_in_one_layer: Annotated[int, Field(description="One more than there are units.")]


class Approximation(TypedDict):
    curve: str
    noise: float
    seed: int
    samples: CurveTold
    clean: Annotated[CurveTold, Field(description="The curve itself, on a fine grid.")]
    networks: list[NetworkTold]
    depth: list[Depth]


def answer(asked: Asked, go_on: GoOn = lambda: None) -> Approximation:
    """`go_on` is called before each network, and what it raises ends it. Raises InvalidRequest as `sampled` does."""
    go_on()
    samples, clean = sampled(asked)
    fitted = []
    for units in asked.units:
        go_on()
        network = fit(samples, asked.low, asked.high, units)
        fitted.append((network, rmse(network, samples), rmse(network, clean)))
    # Errors that are nothing but rounding are all as good.
    exact = EXACT * max(1.0, *(abs(y) for y in clean.y.tolist()))
    best = min(range(len(fitted)), key=lambda place: max(fitted[place][2], exact))
    return Approximation(
        curve=asked.curve.text,
        noise=asked.noise,
        seed=asked.seed,
        samples=CurveTold(x=samples.x.tolist(), y=samples.y.tolist()),
        clean=CurveTold(x=clean.x.tolist(), y=clean.y.tolist()),
        networks=[
            NetworkTold(
                units=len(network.kinks),
                train_error=train_error,
                test_error=test_error,
                verdict=_verdict(place, best, test_error, max(fitted[best][2], exact)),
                kinks=network.kinks.tolist(),
                weights=network.weights.tolist(),
                bias=network.bias,
                y=network(clean.x).tolist(),
            )
            for place, (network, train_error, test_error) in enumerate(fitted)
        ],
        depth=[
            Depth(layers=layers, units=2 * layers, pieces=pieces(layers), at_most_in_one_layer=2 * layers + 1)
            for layers in range(1, DEEPEST + 1)
        ],
    )


def _verdict(place: int, best: int, error: float, smallest: float) -> str:
    if error <= AS_GOOD * smallest:
        return FITS
    return UNDERFITS if place < best else OVERFITS


def draw(told: Approximation) -> str:
    """The curve, its samples and the networks that follow it; their errors; what depth makes against width."""
    networks, drawn = told["networks"], _drawn(told["networks"])
    curves = [Line("the curve itself", told["clean"]["x"], told["clean"]["y"], 4)]
    curves += [Line(_named(network), told["clean"]["x"], network["y"], 1.5) for network in drawn]
    which = "" if len(drawn) == len(networks) else f": {len(drawn)} of {len(networks)}"
    units = [float(network["units"]) for network in networks]
    least = SMALLEST_DRAWN * max(network["test_error"] for network in networks)
    errors = [
        Line("on the curve", units, [max(least, network["test_error"]) for network in networks]),
        Line("on the samples", units, [max(least, network["train_error"]) for network in networks]),
    ]
    together = [float(each["units"]) for each in told["depth"]]
    depth = [
        Line("in layers of two", together, [float(each["pieces"]) for each in told["depth"]]),
        Line("at most in one layer", together, [float(each["at_most_in_one_layer"]) for each in told["depth"]]),
    ]
    samples = Line("", told["samples"]["x"], told["samples"]["y"])
    return charts.draw(
        f"{told['curve']}, noise {told['noise']:g}",
        [
            charts.Panel(f"networks with one hidden layer{which}", "x", curves, samples),
            charts.Panel("root mean squared error", "hidden units", errors, powers=True),
            charts.Panel("straight pieces, by depth and width", "hidden units", depth, powers=True),
        ],
    )


def _drawn(networks: list[NetworkTold]) -> list[NetworkTold]:
    """The first, the last, one that fits, and others between."""
    count = min(len(networks), MOST_DRAWN)
    places = [round(place * (len(networks) - 1) / max(1, count - 1)) for place in range(count)]
    fitting = next(place for place, network in enumerate(networks) if network["verdict"] == FITS)
    if fitting not in places:
        nearest = min(range(1, count - 1), key=lambda each: abs(places[each] - fitting))
        places[nearest] = fitting
    return [networks[place] for place in sorted(places)]


def _named(network: NetworkTold) -> str:
    return f"{network['units']} unit{'s' * (network['units'] > 1)}, {network['verdict']}"
