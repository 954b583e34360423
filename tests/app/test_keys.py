"""Keys are found by their hashes, rights are told apart, files are read again, and what is wrong in one is named."""

import hashlib
import logging
import os
from pathlib import Path

import pytest

from app import keys
from app.errors import ConfigurationError
from app.keys import KeyFile, line_of, new_key, read_keys


def test_a_line_has_the_hash_of_the_key_and_not_the_key() -> None:
    key = new_key()
    line = line_of("alice", ["predict", "admin"], key)

    assert line == f"alice admin,predict {hashlib.sha256(key.encode()).hexdigest()}"
    assert key not in line
    assert len(key) > 40
    assert new_key() != key


def test_a_key_is_found_among_several_and_others_are_not(tmp_path: Path) -> None:
    alice, bob, stranger = new_key(), new_key(), new_key()
    path = tmp_path / "keys"
    path.write_text(
        f"# who may ask\n\n{line_of('alice', ['predict'], alice)}\n{line_of('bob', ['admin'], bob)}  # ops\n"
    )
    file = KeyFile(path)

    found = [file.find(key.encode()) for key in (alice, bob, stranger, "", alice + " ")]
    assert [(each.name, set(each.rights)) if each else None for each in found] == [
        ("alice", {"predict"}),
        ("bob", {"admin"}),
        *(None, None, None),
    ]


DIGEST = "0" * 64


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alice predict", "line 1: it has 2 words; a key has three"),
        (f"# one\na/b predict {DIGEST}", "line 2: 'a/b' is no name"),
        (f"alice read {DIGEST}", "'read' is no right; allowed: predict, admin"),
        (f"alice predict, {DIGEST}", "'' is no right"),
        (f"alice predict {DIGEST}\nalice admin {DIGEST}", "line 2: there is a key 'alice' already"),
        ("alice predict 12ab", "the third word is no SHA-256"),
    ],
)
def test_what_is_wrong_in_a_file_is_named_with_its_line(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        read_keys(text, "keys")

    assert message in error.value.detail
    assert "percept key" in error.value.detail


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "keys"
    if content:
        path.write_bytes(content)

    with pytest.raises(ConfigurationError, match=f"PERCEPT_KEYS={path}: "):
        KeyFile(path)


def test_a_key_comes_and_goes_with_the_file_and_a_broken_file_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(keys, "LOOK_SECONDS", 0.0)
    caplog.set_level(logging.INFO, "percept")
    alice, bob = new_key(), new_key()
    path, other = tmp_path / "keys", tmp_path / "other"
    path.write_text(line_of("alice", ["predict"], alice))
    file = KeyFile(path)
    other.write_text(line_of("bob", ["predict"], bob))
    os.replace(other, path)

    assert file.find(alice.encode()) is None
    assert file.find(bob.encode())
    path.write_text("nonsense")
    assert file.find(bob.encode())
    path.unlink()
    assert file.find(bob.encode())
    assert [record.levelname for record in caplog.records] == ["INFO", "WARNING", "WARNING"]
    assert bob not in caplog.text
