"""The floor: a bare ASGI application around Pillow, one onnxruntime session and json. It takes a raw body and has no
validation, no limits, no metrics: what HTTP and the model cost when nothing else is done."""

import io
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from PIL import Image

options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])


async def app(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]):
    if scope["type"] == "lifespan":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    pixels = np.asarray(Image.open(io.BytesIO(body)).convert("L"))
    [probabilities] = session.run(["probabilities"], {"image": pixels[np.newaxis]})
    row = probabilities[0].tolist()
    index = int(probabilities[0].argmax())
    answer = json.dumps({"label": str(index), "probability": row[index], "probabilities": row}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
