"""The systems that k-means learns of rows of numbers: football players and T-shirt sizes.

Each graph answers the nearest centroid's number and all distances. Distances are told as distances: how far is far
depends on the data, and none of them is a probability.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from torch import Tensor, nn

from app.card import Card, DatasetFacts, Feature, Layer, RowsInput
from training import cluster_figures, export, kmeans
from training.export import Exportable
from training.system import NO_OPTIONS, Trained, Workplace, libraries, training_facts

Array = NDArray[Any]
LLOYD = "Lloyd's rounds until no point changes its cluster"
SAME = 1e-6  # how far from scikit-learn's the inertia (relatively) and the centres may be
DIGITS = 4  # of a feature's mean
SERVED = 1e-4  # how far the distances answered, in float32, may be from those in float64


def row_outputs(unit: str) -> dict[str, str]:
    return {
        "index": "The number of the nearest centre.",
        "distances": f"Euclidean distance to every centre, in all coordinates, {unit}.",
        "distance": "To the nearest of them.",
        "centroid": "The nearest centre itself, as rows are given.",
    }


def scale_of(points: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of every feature."""
    return points.mean(0), points.std(0, correction=0)


def means_of(points: Tensor) -> list[float]:
    """Of every feature, as a card has them."""
    return [round(mean, DIGITS) for mean in points.double().mean(0).tolist()]


class Standardised(nn.Module):
    """Mean 0 and standard deviation 1 for every feature, so that none counts for more because of its unit."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, points: Tensor) -> None:
        super().__init__()
        mean, deviation = scale_of(points)
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def forward(self, rows: Tensor) -> Tensor:
        return (rows - self.mean) / self.deviation

    def undone(self, scaled: Tensor) -> Tensor:
        return scaled * self.deviation + self.mean


class NearestCentroid(nn.Module):
    """By differences: exact where a row lies on a centre."""

    centroids: Tensor  # [k, d], scaled
    told: Tensor  # the same in the units of the input

    def __init__(self, scaling: nn.Module, centroids: Tensor) -> None:
        super().__init__()
        self.scaling = scaling
        self.register_buffer("centroids", centroids)
        self.register_buffer("told", scaling.undone(centroids) if isinstance(scaling, Standardised) else centroids)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """[n, d] → number int64 [n], distances [n, k], the smallest of them [n], the nearest centre [n, d]"""
        distances = (self.scaling(rows)[:, None] - self.centroids).square().sum(2).sqrt()
        index = distances.argmin(1)
        return index, distances, distances.amin(1), self.told[index]


def clustered(points: Tensor, k: int, by: int) -> kmeans.Clustering:
    """The best of ten random starts; clusters in the order of their centres' coordinate `by`. Without a tolerance:
    rounds that end early end in different places, by where they began."""
    return in_order(
        kmeans.kmeans(points, k, start=kmeans.at_random, tolerance=0), lambda best: best.centroids[:, by].argsort()
    )


def against_scikit_learn(graph: bytes, rows: Tensor, points: Tensor, k: int, by: int) -> dict[str, float]:
    """The exported graph beside scikit-learn's best of ten. `rows` are what it takes, `points` the same in the units of
    its distances, both float64. Its centres are taken to be the means of the points that it puts together, which they
    are where k-means has ended, and the distances that it answers, in float32, have to be those from these centres."""
    answers = export.run(graph, rows.float().numpy())
    assignments = torch.from_numpy(answers["index"])
    centres = torch.stack([points[assignments == number].mean(0) for number in range(k)])
    inertia = float((points - centres[assignments]).square().sum())
    exact = torch.cdist(points, centres, compute_mode="donot_use_mm_for_euclid_dist").numpy()
    served = float(np.abs(answers["distances"] - exact).max())
    oracle = KMeans(n_clusters=k, n_init=10, tol=0, random_state=0).fit(points.numpy())
    theirs = oracle.cluster_centers_[oracle.cluster_centers_[:, by].argsort()]
    difference = float(np.abs(centres.numpy() - theirs).max())
    same = abs(inertia / oracle.inertia_ - 1) <= SAME and difference <= SAME and served <= SERVED
    return {
        "inertia": inertia,
        "inertia_of_scikit_learn": float(oracle.inertia_),
        "largest_difference_of_centres_to_scikit_learn": difference,
        "same_as_scikit_learn_to_1e-6": float(same),
        "variance_explained": 1 - inertia / float((points - points.mean(0)).square().sum()),
        "largest_difference_of_float32_distances": served,
    }


def in_order(found: kmeans.Clustering, order_of: Callable[[kmeans.Clustering], Tensor]) -> kmeans.Clustering:
    """The same clusters, numbered anew: `order_of` gives the old numbers in their new order."""
    order = order_of(found)
    return kmeans.Clustering(
        found.centroids[order], order.argsort()[found.assignments], found.inertia, found.inertias, found.converged
    )


PLAYERS = torch.tensor(
    [
        *([100, 5], [90, 5], [110, 5], [97, 4], [102, 4], [112, 4], [92, 4], [95, 3], [90, 3], [100, 3]),
        *([110, 5], [100, 5], [110, 4], [93, 3], [107, 2], [117, 3], [96, 2], [105, 3], [100, 3], [110, 3]),
        *([60, -1], [70, -1], [40, 1], [70, -3], [50, -1], [80, 0], [50, 0], [60, -1], [60, 1], [55, 0]),
        *([40, -1], [45, -1], [40, 0], [55, -3], [60, -1], [65, 0], [70, 0], [51, -2], [51, 1], [48, 0]),
    ],
    dtype=torch.float64,
)
ASKED = torch.tensor([[110.0, 3.0]])  # the course's question
COURSE_ROUNDS = 5
COURSE_SEED = 2  # one of which each of the five rounds still moves a point; most are done after two


@dataclass(frozen=True)
class Players:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "players-kmeans"
    title: str = "Football players in two groups"

    @property
    def floor(self) -> dict[str, float]:
        return {"same_as_scikit_learn_to_1e-6": 1.0, "110_passes_and_3_goals_are_many": 1.0}

    def takes(self) -> RowsInput:
        passes, goals = means_of(PLAYERS)
        return RowsInput(
            features=[
                Feature(name="passes", unit="a match", example=110, usual=[passes]),
                Feature(name="goals", example=3, usual=[goals]),
            ],
            points=PLAYERS.tolist(),
        )

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        return against_scikit_learn(graph, PLAYERS, PLAYERS, 2, by=0) | {
            "110_passes_and_3_goals_are_many": float(export.run(graph, ASKED.numpy())["index"][0] == 1)
        }

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        found = clustered(PLAYERS, 2, by=0)
        what = Exportable(NearestCentroid(nn.Identity(), found.centroids.float()), "rows", row_outputs("as given"))
        graph = export.to_onnx(what, ASKED.repeat(2, 1))
        labels = ["few passes, few goals", "many passes, many goals"]
        told = {"onnx_max_difference": export.check_parity(what, graph, around(PLAYERS))}
        metrics = self.evaluate(graph, workplace, told) | told
        seconds = time.perf_counter() - start
        rounds = list(islice(kmeans.rounds(PLAYERS, course_start()), COURSE_ROUNDS))
        names = ("average passes", "average goals")
        card = Card(
            name=self.name,
            title=self.title,
            description="Two centres in the plane of passes and goals; k-means, best of 10 random starts, in float64.",
            task="clustering",
            input=self.takes(),
            outputs=dict(what.outputs),
            told=["distance", "distances"],
            notes=[
                "The course takes √(Σ|d|) for a distance and leaves out the first coordinate when it predicts. Here a "
                "distance is Euclidean, √(Σd²), in all coordinates, when learning and when answering.",
                "The features are not scaled, as in the course: passes spread over 77, goals over 8, so that nearly "
                "all of a distance is passes: the player with 80 passes and no goal is among those with many of both.",
                "Goals below zero are in the course's data; what they mean it does not say.",
            ],
            labels=labels,
            parameters=4,
            layers=[Layer(name="centres", kind="NearestCentroid", output_shape=[2], parameters=4)],
            metrics=metrics,
            floor=self.floor,
            dataset=DatasetFacts(
                name="players",
                source="the course's 40 players: average passes and average goals",
                licence="none needed",
                train_rows=len(PLAYERS),
                validation_rows=0,
                test_rows=0,
                sha256={},
            ),
            training=training_facts(
                self.name,
                workplace,
                f"{LLOYD}; best of 10 random starts",
                found.rounds,
                seconds,
                precision="float64",
                libraries=libraries("scikit-learn"),
            ),
        )
        return Trained(
            graph,
            card,
            export.golden_rows(what, torch.cat([ASKED, PLAYERS.float()[19:22]])),
            {
                "rounds": cluster_figures.round_by_round(PLAYERS.numpy(), rounds, names),
                "clusters": cluster_figures.regions(
                    lambda rows: export.run(graph, rows)["index"], PLAYERS.numpy(), centres_of(what), labels, names
                ),
            },
        )


def course_start() -> Tensor:
    """Two centres anywhere in the players' ranges."""
    generator = torch.Generator().manual_seed(COURSE_SEED)
    low, high = PLAYERS.amin(0), PLAYERS.amax(0)
    start = low + torch.rand(2, 2, generator=generator, dtype=torch.float64) * (high - low)
    return start[start[:, 0].argsort()]  # the fewer passes first, as the labels are


def centres_of(what: Exportable) -> Array:
    """In the units of the input."""
    module = what.module
    assert isinstance(module, NearestCentroid)
    return module.told.numpy()


def around(points: Tensor) -> Tensor:
    """Rows for the proof of parity, drawn from the points' ranges."""
    low, high = points.float().amin(0), points.float().amax(0)
    drawn = torch.rand(export.PARITY_ROWS, points.shape[1], generator=torch.Generator().manual_seed(0))
    return low + drawn * (high - low)


@dataclass(frozen=True)
class Body:
    """Means and standard deviations of one group of people."""

    height: tuple[float, float]  # cm
    weight: tuple[float, float]  # kg


# Gordon et al. 2014, 2012 Anthropometric Survey of U.S. Army Personnel: Methods and Summary Statistics, Natick
# TR-15/007: stature and weight of 4,082 men and 1,986 women, rounded to a millimetre and 100 g.
MEN = Body(height=(175.6, 6.9), weight=(85.5, 14.2))
WOMEN = Body(height=(162.8, 6.4), weight=(67.8, 11.0))
CORRELATION = 0.5  # of height and weight within a group: assumed
OF_EACH = 1_000
SIZES = ["S", "M", "L", "XL"]


def drawn_bodies(seed: int = 0) -> Tensor:
    """[2,000, 2]: height in cm and weight in kg of as many men as women, float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.cat([_drawn(group, generator) for group in (MEN, WOMEN)])


def _drawn(group: Body, generator: torch.Generator) -> Tensor:
    tall, other = torch.randn(2, OF_EACH, generator=generator, dtype=torch.float64)
    heavy = CORRELATION * tall + (1 - CORRELATION**2) ** 0.5 * other
    return torch.stack([group.height[0] + group.height[1] * tall, group.weight[0] + group.weight[1] * heavy], dim=1)


ROUNDS_START = 6  # the seed of a start that ends where the best of ten does
ROUNDS_SHOWN = (1, 2, 3, 6)  # and the last


def rounds_to_the_end(points: Tensor, start: Tensor) -> list[kmeans.Round]:
    """Until no point changes its cluster."""
    told: list[kmeans.Round] = []
    for each in islice(kmeans.rounds(points, start), kmeans.MAX_ROUNDS):
        told.append(each)
        if len(told) > 1 and torch.equal(each.assignments, told[-2].assignments):
            break
    return told


def shirt_rounds(bodies: Tensor) -> list[kmeans.Round]:
    """From four people taken at random, standardised; sizes go up as in the model, centres are in cm and kg."""
    scaling = Standardised(bodies)
    points = scaling(bodies)
    start = kmeans.at_random(points, len(SIZES), torch.Generator().manual_seed(ROUNDS_START))
    by_weight = rounds_to_the_end(points, start)[-1].moved[:, 1].argsort()
    return [
        replace(each, centroids=scaling.undone(each.centroids), moved=scaling.undone(each.moved))
        for each in rounds_to_the_end(points, start[by_weight])
    ]


@dataclass(frozen=True)
class TShirts:
    options: ClassVar[frozenset[str]] = NO_OPTIONS
    name: str = "tshirt-kmeans"
    title: str = "T-shirt sizes by height and weight"

    @property
    def floor(self) -> dict[str, float]:
        return {"same_as_scikit_learn_to_1e-6": 1.0, "smallest_share_of_a_size": 0.1}

    def takes(self) -> RowsInput:
        height, weight = means_of(drawn_bodies())
        return RowsInput(
            features=[
                Feature(name="height", unit="cm", example=178, usual=[height]),
                Feature(name="weight", unit="kg", example=80, usual=[weight]),
            ]
        )

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        bodies = drawn_bodies()
        mean, deviation = scale_of(bodies)
        sizes = np.bincount(export.run(graph, bodies.float().numpy())["index"], minlength=len(SIZES))
        return against_scikit_learn(graph, bodies, (bodies - mean) / deviation, len(SIZES), by=1) | {
            "smallest_share_of_a_size": float(sizes.min() / len(bodies))
        }

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        bodies = drawn_bodies()
        scaling = Standardised(bodies)
        found = clustered(scaling(bodies), len(SIZES), by=1)
        what = Exportable(
            NearestCentroid(scaling, found.centroids), "rows", row_outputs("in standard deviations of the sample")
        )
        exact = centres_of(what)
        what.module.float()
        example = torch.tensor([[178.0, 80.0], [160.0, 55.0], [170.0, 70.0], [190.0, 110.0]])
        graph = export.to_onnx(what, example[:2])
        counts = np.bincount(found.assignments.numpy(), minlength=len(SIZES))
        told = {"onnx_max_difference": export.check_parity(what, graph, around(bodies))}
        centres = "; ".join(
            f"{size} {height:.0f} cm and {weight:.0f} kg ({count / len(bodies):.0%} of the sample)"
            for size, (height, weight), count in zip(SIZES, exact, counts, strict=True)
        )
        names = ("height in cm", "weight in kg")
        rounds = shirt_rounds(bodies)
        card = Card(
            name=self.name,
            title=self.title,
            description="Four centres in the plane of height and weight, both standardised in the graph; sizes go up "
            "with the weight of their centres.",
            task="clustering",
            input=self.takes(),
            outputs=dict(what.outputs),
            told=["distance", "distances"],
            notes=[
                f"The centres: {centres}.",
                "The sample is drawn, not measured: as many men as women, heights and weights from normal "
                f"distributions with the published means and standard deviations (men {MEN.height[0]} ± "
                f"{MEN.height[1]} cm, {MEN.weight[0]} ± {MEN.weight[1]} kg; women {WOMEN.height[0]} ± "
                f"{WOMEN.height[1]} cm, {WOMEN.weight[0]} ± {WOMEN.weight[1]} kg). Assumed, not published there: "
                f"normality, a correlation of {CORRELATION} of height and weight within each sex, equal shares.",
                "The people measured were soldiers of the U.S. Army: leaner than the public (NHANES 2015-2018 has "
                "90.6 kg for men and 77.5 kg for women on average). These are no maker's sizes.",
            ],
            labels=SIZES,
            parameters=2 * len(SIZES),
            layers=[
                Layer(name="scaling", kind="Standardised", output_shape=[2], parameters=0),
                Layer(name="centres", kind="NearestCentroid", output_shape=[4], parameters=8),
            ],
            metrics=self.evaluate(graph, workplace, told) | told,
            floor=self.floor,
            dataset=DatasetFacts(
                name="bodies",
                source="drawn with seed 0 from the summary statistics of Gordon et al. 2014, 2012 Anthropometric "
                "Survey of U.S. Army Personnel (ANSUR II), Natick TR-15/007",
                licence="the figures are in the public domain; the sample needs none",
                train_rows=len(bodies),
                validation_rows=0,
                test_rows=0,
                sha256={},
            ),
            training=training_facts(
                self.name,
                workplace,
                f"{LLOYD}; best of 10 random starts",
                found.rounds,
                time.perf_counter() - start,
                precision="float64",
                libraries=libraries("scikit-learn"),
            ),
        )
        return Trained(
            graph,
            card,
            export.golden_rows(what, example),
            {
                "sizes": cluster_figures.regions(
                    lambda rows: export.run(graph, rows)["index"], bodies.numpy(), exact, SIZES, names
                ),
                "rounds": cluster_figures.round_by_round(
                    bodies.numpy(), rounds, names, shown=(*ROUNDS_SHOWN, len(rounds))
                ),
                "training": cluster_figures.inertia_curves({"T-shirt sizes, k = 4": found.inertias}),
            },
        )


SYSTEMS: Sequence[Players | TShirts] = (Players(), TShirts())
