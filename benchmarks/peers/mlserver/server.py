"""MLServer: its Open Inference endpoint over a runtime of our own, since it has none for ONNX.

settings.json keeps the model in the server's process: with two worker processes (`parallel_workers`) it answered a
third fewer requests and held 400 MB instead of 170, and the peer is to be measured at its best.
"""

import os

import onnxruntime as ort
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):
    async def load(self) -> bool:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        [probabilities] = self.session.run(["probabilities"], {"image": NumpyCodec.decode_input(payload.inputs[0])})
        output = NumpyCodec.encode_output("probabilities", probabilities)
        return InferenceResponse(model_name=self.name, outputs=[output])
