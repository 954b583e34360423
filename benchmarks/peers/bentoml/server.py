"""BentoML: one service, as many workers as asked for."""

import os
from typing import Any

import bentoml
import numpy as np
import onnxruntime as ort
from PIL.Image import Image


@bentoml.service(workers=int(os.environ["BENCH_WORKERS"]), logging={"access": {"enabled": False}})
class Classifier:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])

    @bentoml.api
    def predict(self, file: Image) -> dict[str, Any]:
        pixels = np.asarray(file.convert("L"))
        [probabilities] = self.session.run(["probabilities"], {"image": pixels[np.newaxis]})
        row, index = probabilities[0].tolist(), int(probabilities[0].argmax())
        return {"label": str(index), "probability": row[index], "probabilities": row}
