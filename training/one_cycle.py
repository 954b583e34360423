"""The loop that trains: random batches, AdamW, one cycle of its learning rate (Smith and Topin 2018). Knows no network
and no data: what a batch costs is a function's to say.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

WARM_UP = 0.2  # the share of all steps in which the rate rises


@dataclass(frozen=True)
class Cycle:
    epochs: int
    batch: int  # rows
    rate: float  # the peak of the learning rate
    weight_decay: float
    fused: bool = True  # one kernel for all parameters; without it the last bits of the weights are others


def descend(
    parameters: Sequence[nn.Parameter],
    loss_of: Callable[[Tensor], Tensor],
    rows: int,
    cycle: Cycle,
    generator: torch.Generator | None = None,
    after_step: Callable[[], object] = lambda: None,
) -> Iterator[float]:
    """After each epoch, the mean of its losses. `loss_of` takes the numbers of a batch's rows, on the parameters'
    device, and gives their mean loss. The order of the rows is the generator's, of that device, else PyTorch's own.
    `after_step` is called when the parameters have changed."""
    steps = cycle.epochs * -(-rows // cycle.batch)
    optimizer = torch.optim.AdamW(parameters, weight_decay=cycle.weight_decay, fused=cycle.fused)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, cycle.rate, total_steps=steps, pct_start=WARM_UP)
    device = parameters[0].device
    for _ in range(cycle.epochs):
        losses = torch.zeros((), device=device)  # stays there until the epoch ends, so that nothing waits for it
        for numbers in torch.randperm(rows, generator=generator, device=device).split(cycle.batch):
            loss = loss_of(numbers)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            after_step()
            losses += loss.detach() * len(numbers)
        yield losses.item() / rows
