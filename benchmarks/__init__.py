"""Speed and memory, as ratios within one run, computed as bin/ does."""

import os

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
