"""LitServe: as many workers and as many API servers as asked for, no batching (it was slower with it)."""

import io
import os
from typing import Any

import litserve
import numpy as np
import onnxruntime as ort
from PIL import Image


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])

    # Without a type on `request`, LitServe hands the form over as it came; any other type becomes a JSON schema.
    def decode_request(self, request):
        return np.asarray(Image.open(io.BytesIO(request["file"].file.read())).convert("L"))

    def predict(self, x: Any) -> Any:
        [probabilities] = self.session.run(["probabilities"], {"image": x[np.newaxis]})
        return probabilities[0]

    def encode_response(self, output: Any) -> dict[str, Any]:
        row, index = output.tolist(), int(output.argmax())
        return {"label": str(index), "probability": row[index], "probabilities": row}


if __name__ == "__main__":
    workers = int(os.environ["BENCH_WORKERS"])
    server = litserve.LitServer(Classifier(), accelerator="cpu", workers_per_device=workers)
    server.run(
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        num_api_servers=workers,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
