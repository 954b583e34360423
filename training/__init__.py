"""Training with PyTorch: data, networks, the loop, export. Meets the service in the ONNX file and its card."""
