"""Each kind of picture is measured, and is what it says it is."""

import io
from dataclasses import replace

import numpy as np
from PIL import Image

from app.geometry import has_geometry
from app.ink import find_ink
from benchmarks.cases import CONTRACT
from benchmarks.pictures import DRAWING, PHOTOGRAPH, Measured, by_pillow, drawings, measure, photograph


def test_each_is_measured() -> None:
    file = io.BytesIO()
    Image.fromarray(np.tile(drawings()[0], (3, 3))).save(file, "JPEG")
    median, quickest = measure(3, file.getvalue())

    assert min(quickest.own_geometry, quickest.drawing, quickest.photograph, quickest.pillow) > 0
    assert quickest.own_geometry <= median.own_geometry < median.drawing


def test_drawings_are_drawings_and_the_photograph_is_one() -> None:
    jpeg = photograph()
    image = by_pillow(jpeg)
    drawn = drawings()

    assert Image.open(io.BytesIO(jpeg)).size == PHOTOGRAPH
    assert image.mode == "L"
    assert (found := find_ink(np.asarray(image))) is not None
    assert found.paper is not None
    assert {drawing.shape for drawing in drawn} == {(DRAWING, DRAWING)}
    assert len({drawing.tobytes() for drawing in drawn}) == len(drawn)
    assert not any(has_geometry(drawing, CONTRACT) for drawing in drawn)


def test_bars_are_told_and_judged() -> None:
    measured = Measured(9e-6, 3e-4, 0.03, 0.025)

    assert measured.figures == ("9.0 µs", "300 µs", "1.20 (30.0 / 25.0 ms)")
    assert measured.met
    for missed in ({"own_geometry": 21e-6}, {"drawing": 6e-4}, {"photograph": 0.04}):
        assert not replace(measured, **missed).met
