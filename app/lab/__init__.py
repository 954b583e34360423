"""What people try out themselves, beside the trained models: graphs exported from PyTorch that need no artifact."""
