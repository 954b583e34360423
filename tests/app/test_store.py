"""Artifacts are found, proven and named; a bad one is told with its reason and harms no other."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from app.card import Golden, Tensor, write_metadata
from app.errors import InvalidRequest, NotFound
from app.model import load_model
from app.runtime import CPU, choose_providers
from app.store import Refused, load_store
from tests.conftest import MODELS, ROOT
from tests.onnx_models import GOLDEN, brightness_card, brightness_graph, write_brightness, write_echo, write_model

DARK = np.zeros((1, 2, 2), np.uint8)


def reason_for(folder: Path) -> str:
    store = load_store(folder, [CPU])
    assert not store.models
    [refused] = store.refused
    return refused.reason


def test_every_committed_artifact_is_served() -> None:
    store = load_store(ROOT / "artifacts", [CPU])

    assert store.refused == ()
    assert sorted(store.models) == MODELS
    assert {"fashion-cnn", "mnist-cnn", "xor-mlp"} <= set(MODELS)


def test_committed_artifacts_are_small() -> None:
    sizes = [path.stat().st_size for path in (ROOT / "artifacts").rglob("*") if path.is_file()]

    assert max(sizes) <= 8_000_000
    assert sum(sizes) <= 40_000_000


def test_model_answers(tmp_path: Path) -> None:
    model = load_model("brightness", 1, write_brightness(tmp_path), [CPU])
    [probabilities] = model.run({"image": np.array([[[255, 255], [255, 0]]], np.uint8)}, ["probabilities"])

    np.testing.assert_allclose(probabilities, [[0.25, 0.75]], atol=1e-7)
    assert model.provider == CPU


def test_file_is_not_kept_in_memory_beside_its_session(tmp_path: Path) -> None:
    model = load_model("brightness", 1, write_brightness(tmp_path), [CPU])

    assert [name for name, value in vars(model.session).items() if isinstance(value, bytes)] == []


def test_highest_version_answers_unless_another_is_named(tmp_path: Path) -> None:
    for version in (9, 10):
        write_brightness(tmp_path, version=version)
    store = load_store(tmp_path, [CPU])

    assert store.find("brightness").version == 10
    assert store.find("brightness", 9).version == 9
    with pytest.raises(NotFound, match="model 'brightness' has no version 8; there are: 9, 10"):
        store.find("brightness", 8)


def test_alias_is_the_model_with_the_best_validation_accuracy(tmp_path: Path) -> None:
    for name, accuracy in (("good", 0.9), ("better", 0.95), ("worse", 0.5)):
        card = brightness_card(
            name, subject="digits", metrics={"validation_accuracy": accuracy, "test_accuracy": 1 - accuracy}
        )
        write_brightness(tmp_path, name, card=card)
    store = load_store(tmp_path, [CPU])

    assert store.find("digits").name == "better"
    with pytest.raises(NotFound, match="there is no model 'clothing'; there are: digits, better, good, worse"):
        store.find("clothing")


def test_another_model_may_answer_instead_if_its_labels_are_the_same(tmp_path: Path) -> None:
    write_brightness(tmp_path, "one")
    write_brightness(tmp_path, "two")
    write_brightness(tmp_path, "other", card=brightness_card("other", labels=["night", "day"]))
    store = load_store(tmp_path, [CPU])

    assert store.find_instead("one", "two").name == "two"
    with pytest.raises(InvalidRequest, match="model 'other' does not answer what 'one' answers"):
        store.find_instead("one", "other")


def test_bad_artifacts_do_not_stop_the_good_one(tmp_path: Path) -> None:
    good = write_brightness(tmp_path)
    for name, content in (("truncated", good.read_bytes()[:300]), ("foreign", b"\x89PNG, say"), ("empty", b"")):
        path = tmp_path / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    (tmp_path / "no-version").mkdir()
    (tmp_path / "notes.txt").write_text("not a model")
    store = load_store(tmp_path, [CPU])

    assert list(store.models) == ["brightness"]
    assert [(refused.model, refused.version) for refused in store.refused] == [
        ("empty", "1"),
        ("foreign", "1"),
        ("no-version", ""),
        ("truncated", "1"),
    ]
    assert all("onnxruntime cannot load it" in refused.reason for refused in store.refused if refused.version)
    assert "it has no model.onnx" in store.refused[2].reason


def test_version_that_is_no_number_is_refused(tmp_path: Path) -> None:
    path = write_brightness(tmp_path)
    path.parent.rename(path.parent.with_name("latest"))

    assert "named by a whole number" in reason_for(tmp_path)


def test_half_written_artifact_is_not_looked_at(tmp_path: Path) -> None:
    path = write_brightness(tmp_path)
    path.parent.rename(path.parent.with_name(".1-draft"))

    assert load_store(tmp_path, [CPU]).refused == (
        Refused("brightness", "", "it has no model.onnx in a folder that is named by a whole number"),
    )


def test_onnx_file_without_card_is_served_but_answers_no_pictures(tmp_path: Path) -> None:
    onnx.save(brightness_graph(), tmp_path / "own.onnx")
    model = load_store(tmp_path, [CPU]).find("own")

    np.testing.assert_array_equal(model.run({"image": DARK}, ["probabilities"])[0], [[1, 0]])
    with pytest.raises(InvalidRequest, match="model 'own' has no card"):
        model.require_card()


def test_answers_other_than_the_golden_rows_are_refused(tmp_path: Path) -> None:
    wrong = Tensor.of(np.array([[1, 0], [0.6, 0.4]], np.float32))
    write_brightness(tmp_path, golden=GOLDEN.model_copy(update={"outputs": {"probabilities": wrong}}))

    assert reason_for(tmp_path) == (
        "its golden rows give probabilities that differ from PyTorch's by 0.1; "
        "at most 1e-06 is allowed on CPUExecutionProvider"
    )


def test_golden_strings_are_proven_letter_by_letter(tmp_path: Path) -> None:
    for name, last in (("same", "0.5"), ("other", "0.50")):
        write_echo(tmp_path, name, [["0.25"], [last]])
    store = load_store(tmp_path, [CPU])

    assert list(store.models) == ["same"]
    [refused] = store.refused
    assert refused.reason.startswith("its golden rows give words that differ from PyTorch's by inf")


def test_golden_strings_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_echo(tmp_path, "echo", [["0.25"]])

    assert "give words that differ from PyTorch's by inf" in reason_for(tmp_path)


def test_golden_rows_with_nan_are_refused(tmp_path: Path) -> None:
    nan = Tensor.of(np.full((2, 2), np.nan, np.float32))
    write_brightness(tmp_path, golden=GOLDEN.model_copy(update={"outputs": {"probabilities": nan}}))

    assert "differ from PyTorch's by nan" in reason_for(tmp_path)


def test_golden_rows_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_brightness(tmp_path, golden=GOLDEN.model_copy(update={"inputs": {"image": Tensor.of(DARK)}}))

    assert "differ from PyTorch's by inf" in reason_for(tmp_path)


def test_golden_rows_that_cannot_be_replayed_are_refused(tmp_path: Path) -> None:
    write_brightness(tmp_path, golden=GOLDEN.model_copy(update={"inputs": {"picture": Tensor.of(DARK)}}))

    assert "its golden rows cannot be replayed" in reason_for(tmp_path)


def test_golden_rows_need_a_tolerance_for_the_provider(tmp_path: Path) -> None:
    golden = Golden(inputs=GOLDEN.inputs, outputs=GOLDEN.outputs, tolerance={"CUDAExecutionProvider": 1e-3})
    write_brightness(tmp_path, golden=golden)

    assert reason_for(tmp_path) == "its golden rows state no tolerance for CPUExecutionProvider"


def test_card_without_golden_rows_is_refused(tmp_path: Path) -> None:
    model = brightness_graph()
    helper.set_model_props(model, {"percept.card": brightness_card().model_dump_json()})
    write_model(tmp_path, model, "brightness")

    assert reason_for(tmp_path) == "it has a card and no golden rows to prove it by"


def test_card_under_another_name_is_refused(tmp_path: Path) -> None:
    write_brightness(tmp_path, "copy", card=brightness_card("original"))

    assert reason_for(tmp_path) == "its card says 'original', its folder 'copy'"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"labels": ["dark", "gray", "light"]},
            "its card says probabilities is tensor(float) ['batch', 3], its graph says tensor(float) ['batch', 2]",
        ),
        ({"outputs": {"margin": "Distance to the boundary."}}, "explains an output 'margin' that its graph has not"),
    ],
)
def test_card_of_another_graph_is_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    write_brightness(tmp_path, card=brightness_card(**changes))

    assert message in reason_for(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (TensorProto.UINT8, TensorProto.FLOAT, "its graph says tensor(float) ['batch', 2, 2]"),
        ("batch", 1, "its graph says tensor(uint8) [1, 2, 2]"),
        ("image", "picture", "its graph has the inputs ['picture']; one, 'image', is served"),
    ],
    ids=["datatype", "fixed batch", "name"],
)
def test_graph_with_another_input_is_refused(tmp_path: Path, old: object, new: object, message: str) -> None:
    model = brightness_graph()
    image = model.graph.input[0]
    if old == "image":
        image.name = model.graph.node[0].input[0] = str(new)
    elif old == "batch":
        image.type.tensor_type.shape.dim[0].dim_value = 1
    else:
        image.type.tensor_type.elem_type = TensorProto.FLOAT
    helper.set_model_props(model, write_metadata(brightness_card(), GOLDEN))
    write_model(tmp_path, model, "brightness")

    assert message in reason_for(tmp_path)


def test_golden_rows_that_prove_nothing_are_refused(tmp_path: Path) -> None:
    none = Tensor.of(np.zeros((0, 2), np.float32))
    for name, outputs in (("empty", {"probabilities": none}), ("missing", {})):
        golden = GOLDEN.model_copy(update={"outputs": outputs})
        write_brightness(tmp_path, name, golden=golden)

    assert {refused.reason for refused in load_store(tmp_path, [CPU]).refused} == {
        "it has a card and no golden rows to prove it by"
    }


@pytest.mark.parametrize("version", ["\u00b2", "01", "-1", "1.0"])
def test_odd_version_is_refused_and_stops_nothing(tmp_path: Path, version: str) -> None:
    path = write_brightness(tmp_path, "odd")
    path.parent.rename(path.parent.with_name(version))
    write_brightness(tmp_path)
    store = load_store(tmp_path, [CPU])

    assert list(store.models) == ["brightness"]
    assert [refused.version for refused in store.refused] == [version]


def test_second_artifact_of_the_same_version_is_refused(tmp_path: Path) -> None:
    write_brightness(tmp_path)
    onnx.save(brightness_graph(), tmp_path / "brightness.onnx")

    assert [refused.reason for refused in load_store(tmp_path, [CPU]).refused] == ["there is another version 1 of it"]


def test_onnx_file_with_its_data_elsewhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "split" / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(brightness_graph(), path, save_as_external_data=True, size_threshold=0, location="weights")

    assert "onnxruntime cannot load it" in reason_for(tmp_path)


def test_damaged_card_is_refused(tmp_path: Path) -> None:
    model = brightness_graph()
    helper.set_model_props(model, {"percept.card": "{}"})
    write_model(tmp_path, model, "brightness")

    assert reason_for(tmp_path) == "metadata 'percept.card': name: Field required"


def test_cpu_is_what_auto_falls_back_to() -> None:
    """Where there is CUDA, the device's own check shows the other side; here onnxruntime is the CPU build."""
    assert choose_providers("auto")[-1] == CPU
    assert choose_providers("cpu") == [CPU]
