"""What the README shows is what happens, and what it lists is there."""

import json
import re
import shlex
import urllib.parse
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.conftest import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")


def layout() -> dict[str, str]:
    """Path → its line, from the tree that indents files below their folder."""
    [tree] = re.findall(r"## Layout\n\n```\n(.*?)```", README, re.S)
    lines, folder = {}, ""
    for line in tree.splitlines():
        indent, names, text = re.findall(r"^( *)(\S+(?: \S+\.py)*) {2,}(.*)$", line)[0]
        folder = folder if indent else names
        for name in names.split() if indent else [""]:
            lines[folder + name] = text
    return lines


def test_the_curl_gives_the_answer_that_is_shown(client: TestClient) -> None:
    [(file, path)] = re.findall(r"```sh\ncurl -F file=@(\S+) http://127\.0\.0\.1:8000(\S+)\n```", README)
    [shown] = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", README, re.S)]
    answer = client.post(path, files={"file": (ROOT / file).read_bytes()}).json()
    [expected], [found] = shown.pop("predictions"), answer.pop("predictions")

    assert answer == shown
    assert found.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=1e-5)
    assert found.pop("probability") == pytest.approx(expected.pop("probability"), abs=1e-5)
    assert found == expected


def test_the_request_of_the_protocol_gives_the_answer_that_is_shown(client: TestClient) -> None:
    [(file, path)] = re.findall(r"```sh\ncurl -d @(\S+) http://127\.0\.0\.1:8000(\S+)\n```", README)
    [shown] = [json.loads(block) for block in re.findall(r"```text\n(.*?)```", README, re.S)]
    # curl leaves out line ends, and calls what it sends a form.
    body = (ROOT / file).read_bytes().replace(b"\n", b"")
    answer = client.post(path, content=body, headers={"Content-Type": "application/x-www-form-urlencoded"}).json()
    expected, found = (document["outputs"][0].pop("data")[0].split(":") for document in (shown, answer))

    assert answer == shown
    assert found[1:] == expected[1:]
    assert float(found[0]) == pytest.approx(float(expected[0]), abs=1e-5)


@pytest.mark.parametrize("call", re.findall(r"^curl .*http://127\.0\.0\.1:8000.*$", README, re.M))
def test_every_curl_is_answered(client: TestClient, call: str) -> None:
    words = [word for word in shlex.split(call) if word != "-N"]  # the one option that takes no value
    address = urllib.parse.urlsplit(next(word for word in words if word.startswith("http:")))
    given = [pair for pair in pairwise(words) if pair[0].startswith("-")]
    options = {name: value for name, value in given if name != "-H"}
    headers = dict(value.split(": ", 1) for name, value in given if name == "-H")
    assert options.keys() <= {"-F", "-d", "-o"}
    where = address.path + (f"?{address.query}" if address.query else "")
    if "-F" in options:
        name, _, file = options["-F"].partition("=@")
        answer = client.post(where, files={name: (ROOT / file).read_bytes()}, headers=headers)
    elif "-d" not in options:
        answer = client.get(where, headers=headers)
    else:
        body = options["-d"].encode()
        body = (ROOT / options["-d"][1:]).read_bytes() if body.startswith(b"@") else body
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = client.post(where, content=body, headers=form | headers)

    assert answer.status_code == 200, answer.text


def test_the_korean_readme_has_the_same_commands_and_tables() -> None:
    korean = (ROOT / "README.ko.md").read_text(encoding="utf-8")

    assert not re.search(r"[가-힣]", README.replace("[한국어](README.ko.md)", ""))
    assert same_in_any_language(korean) == same_in_any_language(README)
    assert len(re.findall("^## ", korean, re.M)) == len(re.findall("^## ", README, re.M))


def same_in_any_language(document: str) -> list[str]:
    """Blocks of code and tables."""
    return re.findall(r"^```.*?^```$|^\|.*?\|$", document, re.S | re.M)


def test_request_in_the_samples_is_the_picture_beside_it() -> None:
    [entry] = json.loads((ROOT / "samples" / "seven.json").read_text(encoding="utf-8"))["inputs"]
    pixels = np.asarray(Image.open(ROOT / "samples" / "seven.png"))

    assert np.array_equal(np.array(entry["data"]), pixels)


def test_layout_has_a_line_for_each_module_and_none_too_many() -> None:
    lines = layout()
    modules = {
        str(path.relative_to(ROOT))
        for folder in ("app", "app/routes", "training", "on_ray", "benchmarks")
        for path in (ROOT / folder).glob("*.py")
        if path.name != "__init__.py"
    }

    assert {path for path in lines if path.endswith(".py")} == modules
    assert {path for path in lines if path.startswith("app/web/")} - {"app/web/", "app/web/samples/"} == {
        str(path.relative_to(ROOT)) for path in (ROOT / "app" / "web").iterdir() if path.is_file()
    }
    assert all(lines.values())
    assert [path for path in lines if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", ["README.md", "README.ko.md", "ARCHITECTURE.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")

    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("document", ["README.md", "README.ko.md", "ARCHITECTURE.md", "docs/performance.md"])
def test_files_that_are_named_exist(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")

    for name in re.findall(r"`((?:app|training|tests|benchmarks|docs|samples)/[\w/.-]+)`", text):
        assert Path(ROOT, name).exists(), name


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    for target in set(re.findall(r"(?:^|`)make (\w+)", README, re.M)):
        assert re.search(rf"^{target}:", makefile, re.M), target


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/performance.md"])
def test_nothing_is_left_to_fill_in(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")

    assert not re.search(r"\b[A-Z]+_(ROWS|PENDING)\b|TODO|FIXME", text)
