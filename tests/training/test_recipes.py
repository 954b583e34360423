"""Each recipe has the shape, the parameters and the floor that the course's table asks for."""

import pytest
import torch

from training.__main__ import RECIPES
from training.recipe import Recipe

# name: parameters and test accuracy, as the table of systems states them (rows A5 to A10); A8 states no parameters.
TABLE = {
    "mnist-dnn": (101_770, 0.980),
    "mnist-mlp": (269_322, 0.983),
    "mnist-cnn": (118_346, 0.992),
    "mnist-lenet": (34_622, 0.990),
    "fashion-mlp": (101_770, 0.885),
    "fashion-cnn": (118_346, 0.915),
}


def test_every_row_has_its_recipe() -> None:
    assert {name: (recipe.parameters, recipe.floor) for name, recipe in RECIPES.items()} == TABLE


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_network_has_the_parameters_that_the_recipe_states(recipe: Recipe) -> None:
    for body in (recipe.body, *recipe.variants.values()):
        assert sum(parameter.numel() for parameter in body().parameters()) == recipe.parameters


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=lambda recipe: recipe.name)
def test_network_gives_one_score_per_class(recipe: Recipe) -> None:
    assert recipe.body()(torch.zeros(3, 28, 28)).shape == (3, len(recipe.source.labels))


def test_lenet_flattens_sixteen_maps_of_four_by_four() -> None:
    layers = dict(RECIPES["mnist-lenet"].body().named_children())
    shape = torch.zeros(1, 28, 28)
    for name, layer in layers.items():
        if name == "flatten":
            break
        shape = layer(shape)

    assert shape.shape == (1, 16, 4, 4)


def test_initialisations_of_the_two_layer_network_are_what_they_are_called() -> None:
    torch.manual_seed(1)
    he = next(iter(RECIPES["mnist-mlp"].body().parameters())).detach()
    normal = next(iter(next(iter(RECIPES["mnist-mlp"].variants.values()))().parameters())).detach()

    assert float(he.std()) == pytest.approx((2 / 784) ** 0.5, rel=0.01)
    assert float(normal.std()) == pytest.approx(1, rel=0.01)
