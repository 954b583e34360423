"""What the clusters of pictures answer, held against scikit-learn and against arithmetic by hand."""

import json
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from app.card import read_card
from tests.conftest import ROOT
from training import prototypes
from training.data import FASHION_MNIST, MNIST, Source, load_test


def session_of(name: str) -> ort.InferenceSession:
    return ort.InferenceSession(ROOT / "artifacts" / name / "1" / "model.onnx", providers=["CPUExecutionProvider"])


def test_names_are_unique() -> None:
    assert prototypes.unique_labels(["3", "5", "3"]) == ["3 (cluster 0)", "5", "3 (cluster 2)"]


def test_purity_by_hand() -> None:
    counts = prototypes.counted(torch.tensor([0, 0, 0, 1]), torch.tensor([2, 2, 1, 0]), k=2, classes=3)

    assert counts.tolist() == [[0, 1, 2], [1, 0, 0]]
    assert prototypes.purity(counts) == 0.75


def test_picture_of_a_prototype_is_its_own_cluster_at_no_distance() -> None:
    pictures = torch.randint(256, (5, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flat = pictures.flatten(1).double() / 255
    served = prototypes.NearestPrototype(flat, flat[[3, 1]])(pictures)
    index, distances, distance, prototype, coarse_index, coarse_distance = served

    assert index.tolist() == [0, 1, 2, 3, 4]
    assert distance.tolist() == pytest.approx([0] * 5, abs=1e-5)
    assert distances.numpy() == pytest.approx(torch.cdist(flat, flat).numpy(), abs=1e-5)
    assert torch.equal(prototype, pictures)
    assert (coarse_index[3], coarse_index[1]) == (0, 1)
    assert coarse_distance.numpy() == pytest.approx(torch.cdist(flat, flat[[3, 1]]).amin(1).numpy(), abs=1e-5)


def test_scikit_learns_inertias_are_those_that_the_benchmark_found() -> None:
    found = json.loads((ROOT / "docs" / "kmeans.json").read_text(encoding="utf-8"))
    measured = {(each["data"], each["k"]): round(each["scikit_learn"]["inertia"]) for each in found["compared"]}

    assert {each["pictures"] for each in found["compared"]} == {60_000}
    assert measured == {
        (system.source.name, k): inertia
        for system in prototypes.SYSTEMS
        for k, inertia in system.scikit_learns_inertia.items()
    }


@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
@pytest.mark.parametrize(("k", "figure"), [(10, "coarse_inertia"), (64, "inertia")])
def test_both_codebooks_are_within_1_percent_of_scikit_learns(k: int, figure: str, source: Source) -> None:
    session = session_of(f"{source.name.removesuffix('-mnist')}-kmeans")
    card = read_card(session.get_modelmeta().custom_metadata_map)
    assert card is not None
    theirs = next(each for each in prototypes.SYSTEMS if each.name == card.name)

    assert card.metrics[figure] <= 1.01 * theirs.scikit_learns_inertia[k]
    assert card.metrics[f"{figure}_of_scikit_learn"] == theirs.scikit_learns_inertia[k]
    assert card.floor[f"{figure}_within_1_percent_of_scikit_learn"] == 1
    assert card.outputs == prototypes.OUTPUTS
    assert card.told == ["distance", "distances", "prototype"]


def test_inertia_that_is_one_percent_above_is_not_within_it() -> None:
    assert [
        prototypes.beside_scikit_learn("inertia", inertia, 200.0)["inertia_within_1_percent_of_scikit_learn"]
        for inertia in (190, 202, 202.1)
    ] == [1, 1, 0]
    assert prototypes.inertia_of(np.array([3, 4], np.float32)) == 25


@pytest.mark.parametrize("source", [MNIST, FASHION_MNIST], ids=lambda source: source.name)
def test_artifact_is_as_pure_on_the_test_pictures_as_its_card_says(source: Source, data: Path) -> None:
    session = session_of(f"{source.name.removesuffix('-mnist')}-kmeans")
    card = read_card(session.get_modelmeta().custom_metadata_map)
    assert card is not None
    test = load_test(source, data)
    [index] = session.run(["index"], {"image": test.images.numpy()})
    counts = prototypes.counted(torch.from_numpy(index), test.labels, 64, 10)

    assert prototypes.purity(counts) == pytest.approx(card.metrics["test_purity"])
    assert len(set(card.labels)) == 64
