"""Means of logits, exactly; members that learn for themselves."""

import torch
import torch.nn.functional as F
from torch import nn

from training.committee import Committee, Mirrored


def members(count: int = 3) -> list[nn.Module]:
    torch.manual_seed(0)
    return [nn.Sequential(nn.Flatten(), nn.Linear(16, 4)) for _ in range(count)]


def test_a_committee_answers_with_the_mean_of_its_members_logits() -> None:
    parts, pictures = members(), torch.randn(5, 4, 4)
    expected = torch.stack([part(pictures) for part in parts]).mean(0)

    torch.testing.assert_close(Committee(parts).eval()(pictures), expected, rtol=0, atol=0)


def test_while_it_is_trained_each_member_has_the_gradient_that_it_has_alone() -> None:
    parts, pictures, labels = members(), torch.randn(5, 4, 4), torch.tensor([0, 1, 2, 3, 0])
    answers = Committee(parts).train()(pictures)
    assert answers.shape == (15, 4)

    F.cross_entropy(answers, labels.repeat(3)).backward()
    for part in parts:
        together = [parameter.grad for parameter in part.parameters()]
        alone = torch.autograd.grad(F.cross_entropy(part(pictures), labels), list(part.parameters()))
        for one, other in zip(together, alone, strict=True):
            assert one is not None
            torch.testing.assert_close(one, other / 3)


def test_mirrored_answers_alike_for_a_picture_and_its_mirror_image() -> None:
    [part], pictures = members(1), torch.randn(5, 4, 4)
    network = Mirrored(part).eval()
    expected = (part(pictures) + part(pictures.flip(2))) / 2

    torch.testing.assert_close(network(pictures), expected)
    torch.testing.assert_close(network(pictures), network(pictures.flip(2)))


def test_while_it_is_trained_mirrored_sees_the_picture_alone() -> None:
    [part], pictures = members(1), torch.randn(5, 4, 4)

    assert torch.equal(Mirrored(part).train()(pictures), part(pictures))
