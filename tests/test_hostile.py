"""Broken and hostile bodies against the real service: a few of those that `python -m benchmarks.hostile` sends by the
thousand."""

from itertools import islice
from pathlib import Path

from benchmarks.cases import Message
from benchmarks.hostile import Target, bombard, documentation, names_a_deadline, table
from benchmarks.hostile_bodies import KINDS, bodies
from benchmarks.hostile_pictures import PICTURES
from tests.served import Server

BODIES = 300


def test_every_hostile_body_gets_a_documented_answer_and_no_worker_dies(tmp_path: Path) -> None:
    server = Server(tmp_path / "log", PERCEPT_WORKERS="1")
    try:
        workers, document = server.workers(), documentation(server.port)
        seen, failed = bombard(Target(server.port, document), islice(bodies(document, seed=7), BODIES), workers)
        assert [(one.hostile.kind, one.hostile.message.path, one.why) for one in failed] == []
        assert server.workers() == workers
        assert server.predict() == "7"
    finally:
        server.stop()

    assert sum(each.statuses.total() for each in seen.values()) == BODIES
    assert {kind.split(":")[0] for kind in seen} == set(KINDS)
    assert {kind.removeprefix("picture: ") for kind in seen if kind.startswith("picture: ")} <= set(PICTURES)
    assert table(seen).splitlines()[-1].startswith(f"| all | {BODIES:,} |")
    assert "Traceback" not in server.log.read_text() and "Warning" not in server.log.read_text()


def test_bodies_are_the_same_of_the_same_seed(tmp_path: Path) -> None:
    nothing: dict[str, dict[str, object]] = {"paths": {}}
    once, again, other = (list(islice(bodies(nothing, seed), 50)) for seed in (3, 3, 4))

    assert once == again
    assert once != other


def test_who_names_a_deadline_may_be_told_that_it_is_over() -> None:
    body = b'{"inputs":[]}'

    assert names_a_deadline(Message("/predict/digits", {"x-request-timeout-ms": "1"}, body))
    assert names_a_deadline(Message("/v2/models/iris-mlp/infer", {}, b'{"parameters":{"timeout":1},"inputs":[]}'))
    assert not names_a_deadline(Message("/v2/models/iris-mlp/infer", {"Accept": "*/*"}, body))
    assert not names_a_deadline(Message("/train/xor", {}, b'{"timeout":1}'))
