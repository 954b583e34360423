"""A model's graph read and drawn, as work of the lab: what is not known yet costs a look at the file and two runs."""

from dataclasses import dataclass

from onnxruntime import NodeArg

from app.catalogue import graph_of, parameters_of
from app.computation import Work
from app.graph_drawing import End, draw
from app.inside import Insides
from app.model import Model

COUNTED_AS = "models/graph"
# Roughly: to read and run it, and to draw it.
READING_SECONDS, DRAWING_SECONDS = 0.01, 0.005


@dataclass(frozen=True)
class Asked:
    seconds: float


def reading(model: Model, insides: Insides) -> Work[Asked]:
    """Afterwards the table is known, if there can be one. Answers nothing."""
    return Work(
        COUNTED_AS, lambda _body: _asked(model, insides), lambda _asked, _go_on: graph_of(model, insides), _nothing
    )


def drawing(model: Model, insides: Insides) -> Work[Asked]:
    """As SVG. Raises what `Insides.table` does."""
    return Work(
        COUNTED_AS,
        lambda _body: _asked(model, insides, DRAWING_SECONDS),
        lambda _asked, _go_on: drawn(model, insides),
        lambda picture: str(picture).encode(),
    )


def drawn(model: Model, insides: Insides) -> str:
    session, table = model.session, insides.table(model)
    counted = parameters_of(model.card, table)
    inputs, outputs = _ends(session.get_inputs()), _ends(session.get_outputs())
    return draw(model.name, table, inputs, outputs, counted.learned, counted.difference)


def _asked(model: Model, insides: Insides, seconds: float = 0) -> Asked:
    return Asked(seconds + (READING_SECONDS if insides.known_table(model) is None else 0))


def _nothing(_table: object) -> bytes:
    return b""


def _ends(nodes: list[NodeArg]) -> list[End]:
    return [End(node.name, node.type, node.shape) for node in nodes]
