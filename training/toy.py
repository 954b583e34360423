"""The course's toy network, 3 → 2 ReLU → 3 ReLU → 4, as a file without a card: `python -m training.toy`.

It is not trained. With the weights that PyTorch starts from it shows what the service makes of any ONNX file: its
layers, its graph and its activations. There is nothing that a card could claim.
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from training import export
from training.system import VERSION

NAME = "toy-network"
WIDTHS = (3, 2, 3, 4)
# With this one each ReLU lets a part of ones(3, 3) through and holds a part back.
SEED = 15
ARTIFACTS = Path(__file__).resolve().parent.parent / "artifacts"


def toy_network(seed: int = SEED) -> nn.Sequential:
    """float32 [N, 3] → [N, 4]."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        first, second, third = (nn.Linear(*widths) for widths in pairwise(WIDTHS))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)


def toy_graph(network: nn.Sequential) -> bytes:
    """Raises ExportError if onnxruntime does not answer as PyTorch does."""
    taken = torch.ones(3, WIDTHS[0])
    graph = export.graph_of(network, (taken,), ["x"], ["y"], ({0: torch.export.Dim("batch")},))
    rows = torch.randn(export.PARITY_ROWS, WIDTHS[0], generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        export.check_answers({"y": network(rows).numpy()}, graph, rows.numpy())
    return graph


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training.toy", description="Export the course's toy network.")
    parser.add_argument("--out", type=Path, default=ARTIFACTS, help="where artifacts go (default: artifacts)")
    out: Path = parser.parse_args(argv).out
    graph = toy_graph(toy_network())
    with export.artifact_folder(out, NAME, VERSION) as folder:
        (folder / "model.onnx").write_bytes(graph)
    print(f"{out / NAME / str(VERSION) / 'model.onnx'}: {len(graph):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
