"""Schemathesis against the real service, all checks: a few examples of each operation, of which
`python -m benchmarks.schema_fuzz` takes a hundred."""

from pathlib import Path

import pytest

from app.keys import RIGHTS, line_of, new_key
from tests.served import Server

pytest.importorskip("schemathesis", reason="schemathesis is not here: it belongs to the extra dev")
EXAMPLES, SEED = 3, 1


@pytest.mark.parametrize("has_keys", [False, True], ids=["without keys", "with keys"])
def test_no_check_finds_anything(tmp_path: Path, has_keys: bool, capfd: pytest.CaptureFixture[str]) -> None:
    from benchmarks.schema_fuzz import fuzz

    key, keys = new_key(), tmp_path / "keys"
    keys.write_text(line_of("fuzz", RIGHTS, key) + "\n")
    settings = {"PERCEPT_KEYS": str(keys)} if has_keys else {}
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1", **settings)
    try:
        more = ["--header", f"Authorization: Bearer {key}"] if has_keys else []
        code = fuzz(server.port, EXAMPLES, SEED, "examples,fuzzing", *more)
    finally:
        server.stop()

    assert code == 0, capfd.readouterr().out
