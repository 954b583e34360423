"""The service. Never imports torch or training.

onnxruntime reads this variable when it is imported, so it is set here, before any module of ours can import it.
"""

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
