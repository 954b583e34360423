"""Ray Serve: a FastAPI ingress with as many replicas as asked for. Ray is told to stay on 127.0.0.1."""

import io
import os
import signal
import tempfile
from typing import Any

import numpy as np
import onnxruntime as ort
import ray
from fastapi import FastAPI, UploadFile
from PIL import Image
from ray import serve

app = FastAPI()


@serve.deployment(
    num_replicas=int(os.environ["BENCH_WORKERS"]), max_ongoing_requests=64, ray_actor_options={"num_cpus": 0.1}
)
@serve.ingress(app)
class Classifier:
    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])

    @app.post("/predict")
    async def predict(self, file: UploadFile) -> dict[str, Any]:
        pixels = np.asarray(Image.open(io.BytesIO(await file.read())).convert("L"))
        [probabilities] = self.session.run(["probabilities"], {"image": pixels[np.newaxis]})
        row, index = probabilities[0].tolist(), int(probabilities[0].argmax())
        return {"label": str(index), "probability": row[index], "probabilities": row}


if __name__ == "__main__":
    # Ray's sockets lie below this folder, and a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as folder:
        ray.init(
            address="local",
            _node_ip_address="127.0.0.1",
            _temp_dir=folder,
            include_dashboard=False,
            log_to_driver=False,
        )
        serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
        serve.run(Classifier.bind())
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
        serve.shutdown()
        ray.shutdown()
