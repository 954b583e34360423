"""The toy network that is served is PyTorch's, and it shows what a file without a card gets."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from fastapi.testclient import TestClient
from onnx import numpy_helper

from app.card import read_card
from tests.conftest import ROOT
from tests.problems import assert_problem
from training import export, toy

FILE = ROOT / "artifacts" / toy.NAME / "1" / "model.onnx"


def row_of_ones() -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 3], "data": [1, 1, 1]}]}


def test_file_is_what_the_command_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """If not: python -m training.toy"""
    assert toy.main(["--out", str(tmp_path)]) == 0
    [written] = [path for path in tmp_path.rglob("*") if path.is_file()]
    mine, committed = (onnx.load(path) for path in (written, FILE))

    assert capsys.readouterr().out == f"{written}: {written.stat().st_size:,} bytes\n"
    assert (mine.graph, mine.metadata_props) == (committed.graph, committed.metadata_props)


def test_weights_are_those_that_torch_starts_from() -> None:
    ours = {
        each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in onnx.load(FILE).graph.initializer
    }
    network = toy.toy_network()

    assert ours.keys() == network.state_dict().keys()
    assert all(torch.equal(ours[name], weight) for name, weight in network.state_dict().items())
    assert [sum(each.numel() for each in module.parameters()) for module in network] == [8, 0, 9, 0, 16]
    assert sum(each.numel() for each in ours.values()) == 33


def test_making_it_leaves_torchs_random_numbers_alone() -> None:
    torch.manual_seed(3)
    wanted = torch.rand(2)
    torch.manual_seed(3)
    toy.toy_network()

    assert torch.equal(torch.rand(2), wanted)


def test_file_claims_nothing() -> None:
    assert read_card(export.opened(FILE.read_bytes()).get_modelmeta().custom_metadata_map) is None


def test_page_has_its_layers(client: TestClient) -> None:
    page = client.get("/models/toy-network").json()
    layers = page["graph"]["layers"]

    assert (page["card"], page["call"], page["figures"]) == (None, None, [])
    assert [(each["name"], each["operation"], each["inputs"]) for each in layers] == [
        ("linear", "Gemm", ["x"]),
        ("relu", "Relu", ["linear"]),
        ("linear_1", "Gemm", ["relu"]),
        ("relu_1", "Relu", ["linear_1"]),
        ("y", "Gemm", ["relu_1"]),
    ]
    assert [each["output_shape"] for each in layers] == [["batch", size] for size in (2, 2, 3, 3, 4)]
    assert [each["parameters"] for each in layers] == [8, 0, 9, 0, 16]
    assert page["graph"]["parameters"] == 33
    assert "toy-network: 5 operations, 33 numbers stored in the graph" in client.get(page["graph_picture"]).text


def test_activations_of_a_row_of_ones_are_torchs(client: TestClient) -> None:
    told = client.post("/explain/toy-network", json=row_of_ones()).json()
    value = torch.ones(1, 3)

    assert len(told["layers"]) == 5
    for module, layer in zip(toy.toy_network(), told["layers"], strict=True):
        value = module(value)
        answer = client.post(f"/explain/toy-network?layer={layer['name']}", json=row_of_ones()).json()
        [numbers] = value.detach().tolist()
        assert answer["layers"][0]["numbers"] == pytest.approx(numbers, abs=1e-6)
        # Each ReLU lets a part through and holds a part back.
        assert not isinstance(module, torch.nn.ReLU) or 0 < layer["zeros"] < 1


def test_it_is_asked_by_tensors_and_by_nothing_else(client: TestClient) -> None:
    three = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [3, 3], "data": [1] * 9}]}
    [answer] = client.post("/v2/models/toy-network/infer", json=three).json()["outputs"]
    wanted = toy.toy_network()(torch.ones(3, 3)).detach()

    assert answer["shape"] == [3, 4]
    assert answer["data"] == pytest.approx(wanted.flatten().tolist(), abs=1e-6)
    detail = assert_problem(client.post("/predict/toy-network", json={"rows": [[1, 1, 1]]}), 422)
    assert detail == "model 'toy-network' has no card: what its inputs and outputs mean is not known"
