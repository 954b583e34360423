"""The command line, run as a person runs it: another process, real files, exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from app.catalogue import catalogue
from app.keys import KeyFile
from app.main import open_store
from app.settings import Settings
from app.table import replace_table, table
from tests.conftest import ROOT, SAMPLES, run_python
from tests.onnx_models import brightness_card, write_brightness, write_redness


def percept(*arguments: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "app.cli", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment, check=False)


def test_predict_tells_the_label_of_each_file() -> None:
    done = percept("predict", SAMPLES / "seven.png", SAMPLES / "three-on-paper.jpg")
    first, second = done.stdout.splitlines()

    assert (done.returncode, done.stderr) == (0, "")
    assert first.startswith(f"{SAMPLES / 'seven.png'}: 7 ")
    assert second.startswith(f"{SAMPLES / 'three-on-paper.jpg'}: 3 ")
    assert second.endswith("(inverted)")


def test_predict_takes_a_model_and_a_number_of_classes() -> None:
    done = percept("predict", SAMPLES / "ankle-boot.png", "--model", "fashion-mlp", "--top", "2")

    assert done.stdout.split(": ")[1].startswith("Ankle boot ")
    assert len(done.stdout.split(", ")) == 2


def test_predict_tells_the_label_of_a_model_without_probabilities() -> None:
    done = percept("predict", SAMPLES / "seven.png", "--model", "mnist-kmeans")

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{SAMPLES / 'seven.png'}: ")
    assert "(cluster " in done.stdout


def test_predict_by_an_alias_asks_the_model_that_knows_a_pictures_like(tmp_path: Path) -> None:
    write_brightness(tmp_path, card=brightness_card(subject="clothing"))
    write_redness(tmp_path, subject="clothing")
    small, large = tmp_path / "small.png", tmp_path / "large.png"
    Image.fromarray(np.array([[0, 200], [100, 0]], np.uint8)).save(small)
    Image.new("RGB", (90, 90), "#ff0000").save(large)
    done = percept("predict", small, large, "--model", "clothing", PERCEPT_ARTIFACTS=str(tmp_path))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [f"{small}: dark 70.59%", f"{large}: light 100.00%  (redness, blank)"]


def test_predict_tells_bad_files_and_goes_on() -> None:
    done = percept("predict", "nowhere.png", ROOT / "LICENSE", SAMPLES / "two.png")

    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "nowhere.png: No such file or directory",
        f"{ROOT / 'LICENSE'}: the file is not an image that can be decoded: PNG, JPEG, WebP, GIF, BMP, TIFF",
    ]
    assert done.stdout.startswith(f"{SAMPLES / 'two.png'}: 2 ")


def test_unknown_model_is_told() -> None:
    done = percept("predict", SAMPLES / "two.png", "--model", "letters")

    assert done.returncode == 2
    assert done.stderr.startswith("percept: there is no model 'letters'; there are: clothing, digits")


def test_wrong_number_of_classes_is_told() -> None:
    done = percept("predict", SAMPLES / "two.png", "--top", "0")

    assert (done.returncode, done.stdout) == (2, "")
    assert "'0': allowed is a whole number, 1 and more" in done.stderr


def test_document_without_a_place_for_the_table_is_told(tmp_path: Path) -> None:
    for name, message in (("missing", "No such file or directory"), ("without-marks", "the document lacks its marks")):
        if name == "without-marks":
            (tmp_path / name).write_text("no table here")
        done = percept("models", "--write", tmp_path / name)
        assert done.returncode == 2
        assert done.stderr.startswith("percept: ") and message in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_bad_setting_is_told_in_one_line() -> None:
    done = percept("models", PERCEPT_PROVIDERS="tpu")

    assert (done.returncode, done.stderr) == (2, "percept: PERCEPT_PROVIDERS=tpu: allowed is auto, cpu, cuda\n")


def test_cuda_in_vain_is_told_before_the_server_starts() -> None:
    done = percept("serve", "--port", "0", PERCEPT_PROVIDERS="cuda")

    assert done.returncode == 2
    assert done.stderr.startswith("percept: PERCEPT_PROVIDERS=cuda: this onnxruntime has ")


def test_readme_shows_the_table_that_the_cards_give() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")

    assert replace_table(readme, table(catalogue(open_store(Settings())))) == readme


def test_train_is_handed_to_the_other_half() -> None:
    done = percept("train", "no-such-recipe")

    assert done.returncode == 2
    assert "no recipe is called no-such-recipe; there are xor-perceptron, xor-mlp" in done.stderr


def test_batch_without_ray_says_which_extra_is_missing() -> None:
    told = run_python(
        "import contextlib, sys\n"
        "sys.modules['ray'] = None\n"
        "from app.cli import main\n"
        "with contextlib.redirect_stderr(sys.stdout):\n"
        "    print(main(['batch', 'samples', 'answers']))"
    )

    assert told == "percept batch: Ray is not installed; pip install 'percept[ray]' brings it\n2\n"


def test_check_is_handed_to_the_other_half() -> None:
    done = percept("models", "--check", "xor-mlp", "--artifacts", ROOT / "artifacts")

    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split() == ["xor-mlp", "accuracy", "1", "1", "1", "ok"]
    assert percept("models", "xor-mlp", "--check", PERCEPT_ARTIFACTS="nowhere").returncode == 2


def test_key_is_made_and_its_line_can_be_read(tmp_path: Path) -> None:
    done = percept("key", "alice", "--rights", "predict,admin")
    key = done.stderr.split()[-1]
    path = tmp_path / "keys"
    path.write_text(done.stdout)
    found = KeyFile(path).find(key.encode())

    assert done.returncode == 0
    assert key not in done.stdout
    assert found is not None
    assert (found.name, found.rights) == ("alice", {"predict", "admin"})


def test_key_of_a_wrong_name_or_right_is_refused() -> None:
    assert "it has 4 words" in percept("key", "a b").stderr
    done = percept("key", "alice", "--rights", "write")
    assert (done.returncode, done.stdout) == (2, "")
    assert "'write' is no right; allowed: predict, admin" in done.stderr
