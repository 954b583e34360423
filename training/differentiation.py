"""Gradients as graphs: what PyTorch's autograd computes, traced into plain operations that ONNX has. Knows no model.

torch.export does not look inside autograd; `make_fx` does. What ONNX lacks is put in other words: the gradient of a
convolution by its input is a transposed convolution, that of a max-pool goes to the places that won.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._decomp import core_aten_decompositions
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

aten = torch.ops.aten


def traced(function: Callable[..., tuple[Tensor, ...]], examples: tuple[Tensor, ...], core: bool = True) -> GraphModule:
    """The function's operations, those of `torch.autograd.grad` inside it too. Sizes stay open, unless the function
    itself fixes them; parameters that it closes over must not require gradients. Operations are taken apart into those
    of PyTorch's core; unless `core`, those that ONNX has too stay whole, and round as they do in PyTorch."""
    table: dict[Any, Callable[..., Any]] = {
        **(core_aten_decompositions() if core else {}),
        aten.convolution_backward.default: _convolution_backward,
        aten.max_pool2d_with_indices_backward.default: _max_pool_backward,
    }
    tracer = make_fx(function, decomposition_table=table, tracing_mode="symbolic", _allow_non_fake_inputs=True)
    graph: GraphModule = tracer(*examples)
    return graph


def _convolution_backward(
    upstream: Tensor,
    inputs: Tensor,
    weight: Tensor,
    bias_sizes: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
    output_mask: list[bool],
) -> tuple[Tensor | None, None, None]:
    if output_mask[1] or output_mask[2] or transposed:
        raise NotImplementedError("only gradients of a convolution by its input are traced")
    # Places at the far edge that a step of more than 1 leaves out.
    left_over = [
        size + 2 * pad - spread * (kernel - 1) - 1 - step * (steps - 1)
        for size, kernel, steps, step, pad, spread in zip(
            inputs.shape[2:], weight.shape[2:], upstream.shape[2:], stride, padding, dilation, strict=True
        )
    ]
    by_input = aten.convolution.default(upstream, weight, None, stride, padding, dilation, True, left_over, groups)
    return by_input, None, None


def _max_pool_backward(
    upstream: Tensor,
    inputs: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    ceil_mode: bool,
    indices: Tensor,
) -> Tensor:
    """For windows that do not overlap, so that no place wins twice."""
    if list(stride or kernel_size) != list(kernel_size) or set(dilation) != {1}:
        raise NotImplementedError(
            f"max-pooling {kernel_size} by steps of {stride}, dilation {dilation}: only windows side by side are traced"
        )
    nothing = torch.zeros(inputs.shape[0], inputs.shape[1], inputs.shape[2] * inputs.shape[3], dtype=inputs.dtype)
    return nothing.scatter(2, indices.flatten(2), upstream.flatten(2)).reshape(inputs.shape)
