"""Triton through nvidia-pytriton: its HTTP front end and dynamic batcher over onnxruntime in Python back ends."""

import os
import signal
from typing import Any

import numpy as np
import onnxruntime as ort
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

MOST_ROWS = 1024


def backend() -> Any:
    """One instance of the model; Triton spreads batches over as many as it is given."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(os.environ["BENCH_MODEL"], options, ["CPUExecutionProvider"])

    @batch
    def infer(image: Any) -> Any:
        return session.run(["probabilities"], {"image": image})

    return infer


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1",
        http_port=int(os.environ["BENCH_PORT"]),
        allow_grpc=False,
        allow_metrics=False,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="mnist-cnn",
            infer_func=[backend() for _ in range(int(os.environ["BENCH_WORKERS"]))],
            inputs=[Tensor(name="image", dtype=np.uint8, shape=(28, 28))],
            outputs=[Tensor(name="probabilities", dtype=np.float32, shape=(10,))],
            config=ModelConfig(max_batch_size=MOST_ROWS, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.run()
        signal.sigwait({signal.SIGTERM, signal.SIGINT})
