"""The usual tutorial: FastAPI, `UploadFile`, Pillow, onnxruntime, and a model of the response."""

import io
import os

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, UploadFile
from PIL import Image
from pydantic import BaseModel

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])
app = FastAPI()


class Prediction(BaseModel):
    label: str
    probability: float
    probabilities: list[float]


@app.post("/predict")
async def predict(file: UploadFile) -> Prediction:
    pixels = np.asarray(Image.open(io.BytesIO(await file.read())).convert("L"))
    [probabilities] = session.run(["probabilities"], {"image": pixels[np.newaxis]})
    row = probabilities[0].tolist()
    index = int(probabilities[0].argmax())
    return Prediction(label=str(index), probability=row[index], probabilities=row)
