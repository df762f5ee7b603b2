"""Tests: TensorFlow computes as it does for the commands of bin/."""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
