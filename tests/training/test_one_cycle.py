"""The loop against PyTorch's optimiser and schedule, taken step by step by hand."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from training.one_cycle import Cycle, descend

ROWS = 10
INPUTS = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(1))
TARGETS = INPUTS @ torch.tensor([[1.0], [-2.0], [0.5]])


def line() -> nn.Linear:
    torch.manual_seed(2)
    return nn.Linear(3, 1)


def squares_of(network: nn.Linear) -> Callable[[Tensor], Tensor]:
    return lambda rows: (network(INPUTS[rows]) - TARGETS[rows]).square().mean()


@pytest.mark.parametrize("fused", [True, False])
def test_weights_are_those_of_one_cycle_by_hand(fused: bool) -> None:
    network, by_hand = line(), line()
    generator = torch.Generator().manual_seed(3)
    for _ in descend(
        list(network.parameters()), squares_of(network), ROWS, Cycle(2, 4, 0.1, 0.01, fused=fused), generator
    ):
        pass

    generator.manual_seed(3)
    optimizer = torch.optim.AdamW(by_hand.parameters(), weight_decay=0.01, fused=fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=6, pct_start=0.2)
    for _ in range(2):
        order = torch.randperm(ROWS, generator=generator)
        for rows in (order[:4], order[4:8], order[8:]):
            optimizer.zero_grad()
            squares_of(by_hand)(rows).backward()
            optimizer.step()
            schedule.step()
    assert torch.equal(network.weight, by_hand.weight)
    assert torch.equal(network.bias, by_hand.bias)


def test_every_epoch_takes_each_row_once_and_a_short_batch_counts_as_what_it_is() -> None:
    network = line()
    seen: list[list[int]] = []

    def loss_of(rows: Tensor) -> Tensor:
        seen.append(rows.tolist())
        return rows.float().mean() + 0 * network.weight.sum()

    means = list(descend(list(network.parameters()), loss_of, ROWS, Cycle(3, 4, 0.1, 0.01)))

    assert [len(rows) for rows in seen] == [4, 4, 2] * 3
    for epoch in range(3):
        assert sorted(row for rows in seen[3 * epoch : 3 * epoch + 3] for row in rows) == list(range(ROWS))
    assert means == pytest.approx([4.5] * 3)


def test_nothing_is_trained_before_an_epoch_is_asked_for() -> None:
    network = line()
    epochs = descend(list(network.parameters()), squares_of(network), ROWS, Cycle(2, 4, 0.1, 0.01))
    assert torch.equal(network.weight, line().weight)
    next(epochs)
    after_one = network.weight.detach().clone()

    assert not torch.equal(after_one, line().weight)
    next(epochs)
    assert not torch.equal(after_one, network.weight)
