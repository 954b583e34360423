"""Gradients as graphs: what PyTorch's autograd computes, traced into plain operations that ONNX has. Knows no model.

torch.export does not look inside autograd; `make_fx` does. What ONNX lacks is put in other words: the gradient of a
convolution by its input is a transposed convolution, that of an average pool one by a kernel of equal numbers; that of
a max-pool goes to the places that won.
"""

import math
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
        aten.avg_pool2d_backward.default: _average_pool_backward,
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
    """A place that wins in several windows, where they overlap, has the sum of what comes back from them."""
    nothing = torch.zeros(inputs.shape[0], inputs.shape[1], inputs.shape[2] * inputs.shape[3], dtype=inputs.dtype)
    overlap = list(stride or kernel_size) != list(kernel_size) or set(dilation) != {1}
    places, numbers = indices.flatten(2), upstream.flatten(2)
    scattered = nothing.scatter_add(2, places, numbers) if overlap else nothing.scatter(2, places, numbers)
    return scattered.reshape(inputs.shape)


def _average_pool_backward(
    upstream: Tensor,
    inputs: Tensor,
    kernel_size: list[int],
    stride: list[int],
    padding: list[int],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    """Each number of a window has an equal part of what comes back: a transposed convolution, map by map."""
    stride = list(stride or kernel_size)
    # Places at the far edge that no window reaches.
    left_over = [
        size + 2 * pad - kernel - step * (steps - 1)
        for size, kernel, steps, step, pad in zip(
            inputs.shape[2:], kernel_size, upstream.shape[2:], stride, padding, strict=True
        )
    ]
    if any(places < 0 for places in left_over):
        raise NotImplementedError("average pooling with ceil_mode, whose last windows go past the edge, is not traced")
    maps = inputs.shape[1]
    if divisor_override is not None or count_include_pad or set(padding) == {0}:
        shares = upstream / (divisor_override or math.prod(kernel_size))
    else:
        counted = torch.ones(1, 1, inputs.shape[2], inputs.shape[3], dtype=inputs.dtype)
        window = torch.ones(1, 1, *kernel_size, dtype=inputs.dtype)
        shares = upstream / aten.convolution.default(counted, window, None, stride, padding, [1, 1], False, [0, 0], 1)
    kernel = torch.ones(maps, 1, *kernel_size, dtype=inputs.dtype)
    by_input: Tensor = aten.convolution.default(shares, kernel, None, stride, padding, [1, 1], True, left_over, maps)
    return by_input
