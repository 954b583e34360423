"""What is changed stays a photograph; products are the positives of what Fashion-MNIST has."""

import torch
import torch.nn.functional as F

from training.photograph_like import as_others_take_them, in_a_shop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def photographs(count: int = 20) -> torch.Tensor:
    coarse = 255 * torch.rand(count, 3, 8, 8, generator=generator(9))
    return F.interpolate(coarse, (64, 64), mode="bicubic").clamp(0, 255)


def test_photographs_stay_photographs_and_each_is_another() -> None:
    pictures = photographs()
    changed = as_others_take_them(pictures.clone(), generator())

    assert changed.shape == pictures.shape
    assert float(changed.min()) >= 0
    assert float(changed.max()) <= 255
    assert ((changed - pictures).abs().mean((1, 2, 3)) > 5).all()


def test_the_same_generator_changes_alike_and_another_otherwise() -> None:
    one, same, other = (as_others_take_them(photographs(), generator(seed)) for seed in (1, 1, 2))

    assert torch.equal(one, same)
    assert not torch.equal(one, other)


def test_products_are_dark_or_coloured_before_white() -> None:
    garment = torch.zeros(30, 28, 28)
    garment[:, 8:20, 8:20] = 255
    shown = in_a_shop(garment, 112, generator())

    assert shown.shape == (30, 3, 112, 112)
    torch.testing.assert_close(shown[:, :, :24], torch.full((30, 3, 24, 112), 255.0))
    product = shown[:, :, 48:64, 48:64]
    assert (product.amin(1) < 230).all()
    coloured = (product.amax((1, 2, 3)) - product.amin((1, 2, 3))) > 1
    assert 0.4 < coloured.float().mean() < 0.95


def test_where_the_data_set_has_nothing_a_product_is_white_paper() -> None:
    shown = in_a_shop(torch.zeros(3, 28, 28), 56, generator())

    assert torch.equal(shown, torch.full((3, 3, 56, 56), 255.0))
