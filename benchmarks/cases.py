"""What is asked and what the answer has to be: pictures, the requests made of them, and the model's own answers.

Requests are the bytes that go over the wire. Every case has several different ones, sent in turn, so that no server is
measured on one picture.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from app.card import ImageInput
from app.images import fit
from benchmarks.environments import ROOT

Rows = NDArray[np.uint8]  # [N, 28, 28]
Probabilities = NDArray[np.float32]  # [N, 10]
Format = Literal["multipart", "raw", "json", "binary", "photo"]

MODEL = ROOT / "artifacts" / "mnist-cnn" / "1" / "model.onnx"
CONTRACT = ImageInput(height=28, width=28, box=20, centre="mass")
TOLERANCE = 1e-4
BOUNDARY = "percept-benchmark"
HEADER_LENGTH = "Inference-Header-Content-Length"
# An ordinary photograph of a sheet of paper.
PHOTO_SIZE = (1_200, 1_600)
# Different requests of one case: many small ones, few large ones.
MOST_DIFFERENT_ROWS = 512


@dataclass(frozen=True)
class Case:
    key: str
    title: str
    format: Format
    rows: int = 1


CASES = {
    case.key: case
    for case in (
        Case("png_multipart", "one PNG, multipart", "multipart"),
        Case("png_raw", "one PNG, raw body", "raw"),
        Case("json_1", "Open Inference JSON, 1 row", "json"),
        Case("json_64", "Open Inference JSON, 64 rows", "json", 64),
        Case("binary_1", "binary tensor, 1 row", "binary"),
        Case("binary_256", "binary tensor, 256 rows", "binary", 256),
        Case("photo", "one JPEG of 1,200 × 1,600", "photo"),
    )
}


@dataclass(frozen=True)
class Message:
    """A POST with everything but the host."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    def raw(self, port: int) -> bytes:
        head = {"Host": f"127.0.0.1:{port}", **self.headers, "Content-Length": str(len(self.body))}
        lines = [f"POST {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


@dataclass(frozen=True)
class Question:
    """A message and the probabilities that the model gives in this process; None where only the status is checked."""

    message: Message
    expected: Probabilities | None


@cache
def digits() -> Rows:
    """The ten digits drawn in a type, already in the geometry of MNIST, so that preparing them changes nothing."""
    font = ImageFont.load_default(72)
    return np.stack([fit(_drawn(str(digit), font), CONTRACT).pixels for digit in range(10)])


def _drawn(text: str, font: Any) -> Rows:
    image = Image.new("L", (112, 112), 0)
    ImageDraw.Draw(image).text((56, 56), text, fill=255, font=font, anchor="mm")
    return np.asarray(image)


def rows(count: int, offset: int = 0) -> Rows:
    """The digits in turn, each time round shifted by another pixel to the side: nearly all rows differ."""
    numbers = np.arange(offset, offset + count)
    return np.stack([np.roll(digits()[number % 10], number // 10 % 28, axis=1) for number in numbers])


@cache
def session() -> ort.InferenceSession:
    return open_session()


def open_session() -> ort.InferenceSession:
    """As every server here opens it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(MODEL.read_bytes(), options, ["CPUExecutionProvider"])


def questions(case: Case, path: str, form: Format | None = None) -> list[Question]:
    """The requests of a case; `form` for a server that takes the same rows in another form."""
    form = form or case.format
    if form == "photo":
        return [Question(message("photo", path, rows(1, digit)), None) for digit in range(4)]
    count = 10 if case.rows == 1 else max(1, min(4, MOST_DIFFERENT_ROWS // case.rows))
    batches = [rows(case.rows, case.rows * number) for number in range(count)]
    return [Question(message(form, path, batch), predicted(batch)) for batch in batches]


def predicted(batch: Rows) -> Probabilities:
    [probabilities] = session().run(["probabilities"], {"image": batch})
    return np.asarray(probabilities)


def message(form: Format, path: str, batch: Rows) -> Message:
    headers, body = ENCODERS[form](batch)
    return Message(path, headers, body)


def _multipart(batch: Rows) -> tuple[dict[str, str], bytes]:
    head = 'Content-Disposition: form-data; name="file"; filename="digit.png"\r\nContent-Type: image/png'
    parts = [f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + png(row) + b"\r\n" for row in batch]
    body = b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
    return {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}, body


def _raw(batch: Rows) -> tuple[dict[str, str], bytes]:
    [row] = batch
    return {"Content-Type": "image/png"}, png(row)


def _json(batch: Rows) -> tuple[dict[str, str], bytes]:
    tensor = {"name": "image", "shape": list(batch.shape), "datatype": "UINT8", "data": batch.ravel().tolist()}
    request = {"inputs": [tensor], "outputs": [{"name": "probabilities"}]}
    return {"Content-Type": "application/json"}, json.dumps(request, separators=(",", ":")).encode()


def _binary(batch: Rows) -> tuple[dict[str, str], bytes]:
    size = {"binary_data_size": batch.nbytes}
    tensor = {"name": "image", "shape": list(batch.shape), "datatype": "UINT8", "parameters": size}
    output = {"name": "probabilities", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [output]}, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}
    return headers, head + batch.tobytes()


def _photo(batch: Rows) -> tuple[dict[str, str], bytes]:
    """Dark ink on paper with some grain, so that the JPEG is as large as a photograph's."""
    [row] = batch
    sheet = 255 - np.asarray(Image.fromarray(row).resize(PHOTO_SIZE, Image.Resampling.BICUBIC), np.float32) * 0.8
    grain = np.random.default_rng(0).normal(0, 6, sheet.shape)
    file = io.BytesIO()
    gray = Image.fromarray(np.clip(sheet - 20 + grain, 0, 255).astype(np.uint8))
    gray.convert("RGB").save(file, "JPEG", quality=85)
    return {"Content-Type": "image/jpeg"}, file.getvalue()


ENCODERS: dict[Format, Callable[[Rows], tuple[dict[str, str], bytes]]] = {
    "multipart": _multipart,
    "raw": _raw,
    "json": _json,
    "binary": _binary,
    "photo": _photo,
}


def png(row: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(row).save(file, "PNG")
    return file.getvalue()


def probabilities_in(body: bytes, header_length: str | None) -> Probabilities:
    """Out of an answer in any of the forms that the servers speak. Raises ValueError, KeyError or TypeError."""
    if header_length is not None:
        [output] = json.loads(body[: int(header_length)])["outputs"]
        return np.frombuffer(body[int(header_length) :], "<f4").reshape(output["shape"])
    answer = json.loads(body)
    if "outputs" in answer:
        [output] = answer["outputs"]
        return np.asarray(output["data"], np.float32).reshape(output["shape"])
    predictions = answer.get("predictions", [answer])
    if any(one["label"] != str(int(np.argmax(one["probabilities"]))) for one in predictions):
        raise ValueError("a label is not that of the highest probability")
    return np.asarray([one["probabilities"] for one in predictions], np.float32)


def fault(body: bytes, header_length: str | None, expected: Probabilities | None) -> str | None:
    """What is wrong with an answer, None if nothing is."""
    if expected is None:
        return None
    try:
        found = probabilities_in(body, header_length)
    except (ValueError, KeyError, TypeError) as error:
        return f"cannot be read: {type(error).__name__}: {error}"
    if found.shape != expected.shape:
        return f"shape {found.shape} instead of {expected.shape}"
    if (found.argmax(1) != expected.argmax(1)).any():
        return "another label than the model gives"
    difference = float(np.abs(found - expected).max())
    return None if difference <= TOLERANCE else f"probabilities differ by {difference:.2g}"
