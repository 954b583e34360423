"""The systems that k-means learns of pictures: digits and clothing in 64 clusters, and in ten.

Each graph answers the nearest clusters' numbers, distances and the mean picture; distances are told as distances.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from app.card import Card, Comparison, ImageInput, Layer
from training import cluster_figures, export, kmeans
from training.clusters import LLOYD, Array, in_order
from training.data import FASHION_MNIST, MNIST, Source, Split, load_test
from training.export import Exportable
from training.recipe import DIGIT_INPUT, GARMENT_INPUT
from training.system import Trained, Workplace, dataset_facts, training_facts

TOLERANT_LLOYD = f"{LLOYD} or the centres' squared shift is 1e-4 of a pixel's variance"
K, COARSE_K = 64, 10
RESTARTS = 4
DRY_RUN_ROWS = 512
OUTPUTS = {
    "index": "The number of the nearest cluster.",
    "distances": "Euclidean distance to every cluster's prototype, pixels counted from 0 to 1.",
    "distance": "To the nearest of them.",
    "prototype": "The nearest cluster's mean picture, pixels of 0 to 255.",
    "coarse_index": f"The number of the nearest of {COARSE_K} clusters that were learned apart from the {K}.",
    "coarse_distance": "To the mean picture of that one.",
}


class NearestPrototype(nn.Module):
    """By one product of matrices, in float64: of a picture that is a prototype itself, float32 would leave a distance
    of some hundredths instead of 0. Beside it a coarse codebook, of fewer clusters."""

    centroids: Tensor
    prototypes: Tensor
    coarse: Tensor

    def __init__(self, centroids: Tensor, coarse: Tensor) -> None:
        """`centroids` [k, 784] and `coarse` [fewer, 784], pixels of 0 to 1."""
        super().__init__()
        self.register_buffer("centroids", centroids.double())
        self.register_buffer("prototypes", pictures_of(centroids))
        self.register_buffer("coarse", coarse.double())

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Pixels uint8 [n, 28, 28] → number int64 [n], distances [n, k], the smallest [n], prototype uint8, and of the
        coarse codebook number and smallest distance"""
        pixels = image.flatten(1).double() / 255
        index, distances = nearest_of(pixels, self.centroids)
        coarse_index, coarse_distances = nearest_of(pixels, self.coarse)
        return (
            *(index, distances, distances.amin(1), self.prototypes[index]),
            *(coarse_index, coarse_distances.amin(1)),
        )


def nearest_of(pixels: Tensor, centroids: Tensor) -> tuple[Tensor, Tensor]:
    """float64 [n, d] and [k, d] → the nearest's number, int64 [n], and all distances, float32 [n, k]"""
    products = pixels @ centroids.T
    squares = pixels.square().sum(1, keepdim=True) - 2 * products + centroids.square().sum(1)
    return squares.argmin(1), squares.clamp(min=0).sqrt().float()


def pictures_of(centroids: Tensor) -> Tensor:
    return (centroids * 255).round().to(torch.uint8).view(-1, 28, 28)


def unique_labels(majorities: Sequence[str]) -> list[str]:
    """`3 (cluster 17)` where several clusters have most of the same."""
    return [
        f"{name} (cluster {place})" if majorities.count(name) > 1 else name for place, name in enumerate(majorities)
    ]


def counted(assignments: Tensor, labels: Tensor, k: int, classes: int) -> Tensor:
    """int64 [k, classes]: how many of each label are in each cluster."""
    return torch.bincount(assignments * classes + labels, minlength=k * classes).view(k, classes)


def purity(counts: Tensor) -> float:
    """The share that has its cluster's most frequent label."""
    return float(counts.amax(1).sum() / counts.sum())


def by_majority_and_size(labels: Tensor, classes: int) -> Callable[[kmeans.Clustering], Tensor]:
    """Clusters of the same label stand together, the largest first."""

    def order(found: kmeans.Clustering) -> Tensor:
        counts = counted(found.assignments, labels, len(found.centroids), classes)
        return (counts.argmax(1) * (len(labels) + 1) - counts.sum(1)).argsort(stable=True)

    return order


@dataclass(frozen=True)
class Images:
    options: ClassVar[frozenset[str]] = frozenset({"seed"})
    name: str
    title: str
    source: Source
    input: ImageInput
    purity: float  # that the test pictures have to reach
    # By k: its best of ten, which `python -m benchmarks.kmeans` writes to docs/kmeans.json; a check has no minutes.
    scikit_learns_inertia: Mapping[int, float]

    @property
    def floor(self) -> dict[str, float]:
        return {
            "test_purity": self.purity,
            "inertia_within_1_percent_of_scikit_learn": 1.0,
            "coarse_inertia_within_1_percent_of_scikit_learn": 1.0,
        }

    def evaluate(self, graph: bytes, workplace: Workplace, told: Mapping[str, float]) -> dict[str, float]:
        pictures, test = self._pictures(workplace), load_test(self.source, workplace.data)
        learned, answers = export.run(graph, pictures.images.numpy()), export.run(graph, test.images.numpy())
        classes = len(self.source.labels)
        of_learned = counted(torch.from_numpy(learned["index"]), pictures.labels, K, classes)
        majority = of_learned.argmax(1).numpy()
        inertia = inertia_of(learned["distance"])
        coarse_tested = counted(torch.from_numpy(answers["coarse_index"]), test.labels, COARSE_K, classes)
        return {
            "test_purity": purity(counted(torch.from_numpy(answers["index"]), test.labels, K, classes)),
            "train_purity": purity(of_learned),
            "test_accuracy_of_majority_labels": float((majority[answers["index"]] == test.labels.numpy()).mean()),
            **beside_scikit_learn("inertia", inertia, self.scikit_learns_inertia[K]),
            "mean_squared_distance": inertia / len(pictures),
            "test_mean_squared_distance": inertia_of(answers["distance"]) / len(test),
            **beside_scikit_learn(
                "coarse_inertia", inertia_of(learned["coarse_distance"]), self.scikit_learns_inertia[COARSE_K]
            ),
            "coarse_test_purity": purity(coarse_tested),
        }

    def _pictures(self, workplace: Workplace) -> Split:
        """Nothing is chosen by the labels, so that all 60,000 pictures can be learned from."""
        dataset = workplace.dataset(self.source)
        rows = DRY_RUN_ROWS if workplace.dry_run else len(dataset.train) + len(dataset.validation)
        images = torch.cat([dataset.train.images, dataset.validation.images])
        labels = torch.cat([dataset.train.labels, dataset.validation.labels])
        return Split(images[:rows], labels[:rows])

    def train(self, workplace: Workplace) -> Trained:
        start = time.perf_counter()
        pictures = self._pictures(workplace)
        images, labels = pictures.images, pictures.labels
        runs = {k: self._fit(images, labels, k, workplace) for k in (COARSE_K, K)}
        seconds = time.perf_counter() - start
        found, coarse = runs[K], runs[COARSE_K]

        what = exportable(found, coarse)
        graph = export.to_onnx(what, images[:2])
        difference = export.check_parity(what, graph, images)
        test = load_test(self.source, workplace.data)
        answers = export.run(graph, test.images.numpy())

        names, classes = self.source.labels, len(self.source.labels)
        learned = counted(found.assignments, labels, K, classes)
        tested = counted(torch.from_numpy(answers["index"]), test.labels, K, classes)
        majorities = [names[place] for place in learned.argmax(1).tolist()]
        told = {"onnx_max_difference": difference}
        metrics = self.evaluate(graph, workplace, told) | told
        prototypes = pictures_of(found.centroids)
        shown = answers["index"][:15]
        return Trained(
            graph,
            self._card(workplace, runs, majorities, metrics, len(images), len(test), seconds),
            export.golden_rows(what, images),
            {
                "prototypes": cluster_figures.prototypes(
                    prototypes.numpy(),
                    majorities,
                    learned.sum(1).tolist(),
                    (learned.amax(1) / learned.sum(1).clamp(min=1)).tolist(),
                ),
                "training": cluster_figures.inertia_curves({f"k = {k}": run.inertias for k, run in runs.items()}),
                "predictions": cluster_figures.answers(
                    test.images[:15].numpy(),
                    answers["prototype"][:15],
                    answers["distance"][:15],
                    [majorities[place] for place in shown],
                    [names[place] for place in test.labels[:15].tolist()],
                ),
                "labels": cluster_figures.labels_in_clusters(tested.numpy(), names, majorities),
            },
        )

    def _fit(self, images: Tensor, labels: Tensor, k: int, workplace: Workplace) -> kmeans.Clustering:
        pixels = (images.flatten(1).float() / 255).to(workplace.device)
        dry = workplace.dry_run
        with tqdm(desc=f"{self.name}, k = {k}", unit=" starts", file=sys.stderr, dynamic_ncols=True) as bar:

            def start(points: Tensor, k: int, generator: torch.Generator) -> Tensor:
                bar.update()
                return kmeans.plus_plus(points, k, generator)

            found = kmeans.kmeans(
                pixels, k, self._seed(workplace), start, 1 if dry else RESTARTS, 3 if dry else kmeans.MAX_ROUNDS
            )
        here = kmeans.Clustering(
            found.centroids.cpu(), found.assignments.cpu(), found.inertia, found.inertias, found.converged
        )
        return in_order(here, by_majority_and_size(labels, len(self.source.labels)))

    def _seed(self, workplace: Workplace) -> int:
        return 0 if workplace.seed is None else workplace.seed

    def _card(
        self,
        workplace: Workplace,
        runs: Mapping[int, kmeans.Clustering],
        majorities: Sequence[str],
        metrics: Mapping[str, float],
        train_rows: int,
        test_rows: int,
        seconds: float,
    ) -> Card:
        sizes = {k: run.centroids.numel() for k, run in runs.items()}
        return Card(
            name=self.name,
            title=self.title,
            description=f"k-means with k = {K} on pixels: a picture belongs to the cluster whose mean picture is "
            f"nearest. Best of {RESTARTS} starts by greedy k-means++. Beside it k = {COARSE_K}.",
            task="clustering",
            input=self.input,
            outputs=OUTPUTS,
            told=["distance", "distances", "prototype"],
            notes=[
                "No label took part in the learning. A cluster is called by the label that most of its training "
                "pictures have, with its number where several have the same: `3 (cluster 17)` is one of the clusters "
                "whose pictures are mostly 3.",
                "Purity is the share of pictures that have their cluster's most frequent label; it grows with k. "
                "test_accuracy_of_majority_labels takes the labels of the training pictures for the test pictures.",
                "Distances are between pictures of 784 pixels from 0 to 1. A picture that is nothing of the kind has "
                "a nearest cluster too: look at the distance.",
                f"Figures of the codebook of {COARSE_K} clusters begin with coarse. inertia_of_scikit_learn is that of "
                "its KMeans, the best of 10 starts, as `python -m benchmarks.kmeans` measured it once "
                "(docs/kmeans.json).",
            ],
            labels=unique_labels(list(majorities)),
            parameters=sum(sizes.values()),
            layers=[
                Layer(name="prototypes", kind="NearestPrototype", output_shape=[K], parameters=sizes[K]),
                Layer(name="coarse", kind="NearestPrototype", output_shape=[COARSE_K], parameters=sizes[COARSE_K]),
            ],
            metrics=dict(metrics),
            floor=self.floor,
            dataset=dataset_facts(self.source, train_rows, 0, test_rows),
            training=training_facts(
                self.name,
                workplace,
                f"{TOLERANT_LLOYD}; best of {RESTARTS} greedy k-means++ starts",
                runs[K].rounds,
                seconds,
                seed=self._seed(workplace),
            ),
            comparisons=[
                Comparison(
                    what=f"the coarse codebook: k = {COARSE_K} instead of {K}, everything else equal",
                    metrics={
                        "inertia": metrics["coarse_inertia"],
                        "mean_squared_distance": metrics["coarse_inertia"] / train_rows,
                        "test_purity": metrics["coarse_test_purity"],
                        "rounds": float(runs[COARSE_K].rounds),
                    },
                )
            ],
        )


def exportable(found: kmeans.Clustering, coarse: kmeans.Clustering) -> Exportable:
    return Exportable(NearestPrototype(found.centroids, coarse.centroids), "image", OUTPUTS)


def inertia_of(distances: Array) -> float:
    return float(np.square(distances, dtype=np.float64).sum())


def beside_scikit_learn(name: str, inertia: float, theirs: float) -> dict[str, float]:
    return {
        name: inertia,
        f"{name}_of_scikit_learn": theirs,
        f"{name}_within_1_percent_of_scikit_learn": float(inertia <= 1.01 * theirs),
    }


SYSTEMS: Sequence[Images] = (
    Images(
        *("mnist-kmeans", "Digits in 64 clusters", MNIST, DIGIT_INPUT, 0.8),
        scikit_learns_inertia={COARSE_K: 2_352_808, K: 1_781_436},
    ),
    Images(
        *("fashion-kmeans", "Clothing in 64 clusters", FASHION_MNIST, GARMENT_INPUT, 0.7),
        scikit_learns_inertia={COARSE_K: 1_906_664, K: 1_298_562},
    ),
)
