r"""Trains one classifier together with other processes, on this or other machines.

Start the same command once for each worker. The environment variable TF_CONFIG
lists the addresses of all workers, and says which one a process is:

    TF_CONFIG='{"cluster": {"worker": ["10.0.0.1:4000", "10.0.0.2:4000"]},
        "task": {"type": "worker", "index": 0}}' \
    qup train-worker --dataset=mnist --method=pgd_at --epsilon=0.1 --workdir=runs/two

and the same with "index": 1 on the second machine. The settings are those of
qup train. The workers share each batch: its size, the learning rate and the
number of epochs are those of a training by one process.

Worker 0 writes model.keras, history.csv, curves.png and TensorBoard summaries
into its workdir; the others write checkpoints/worker-1/ and so on into theirs,
which may be the same folder. If a worker ends, all of them end; start the same
commands again, and the training resumes.
"""

import importlib.metadata
import json
import os
import platform

from absl import flags

import qup
from qup.cli import program, train
from qup.core import environment, errors, hashing
from qup.core.interruption import SignalGuard

USED_SETTINGS = train.USED_SETTINGS
_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_PACKAGES = ("tensorflow", "keras", "numpy")


def define_flags() -> None:
    """Defines the flags of `qup train`, and how long to wait for the others."""
    train.define_flags()
    flags.adopt_module_key_flags(train)
    flags.FLAGS["strategy"].help = "Always multi_worker here."
    flags.DEFINE_float("start_timeout", 300.0, "Seconds to wait for the other workers.")


def main(config) -> str:
    """Trains with the settings `config`; returns the table, or what another worker prints."""
    if config.training.strategy == "mirrored":
        raise errors.InputError(
            "train-worker connects processes; for the GPUs of one machine use qup train "
            "--strategy=mirrored."
        )
    config.training.strategy = "none"
    with SignalGuard():
        from qup.pipelines import train as pipeline
        from qup.training import cluster, strategies

    workers = cluster.read_cluster()
    request = train.build_request()
    settings = pipeline.describe_training(config, request)
    settings["epochs"] = list(config.training.epochs)
    cluster.join(workers, _describe_worker(settings), timeout_s=flags.FLAGS.start_timeout)
    try:
        with environment.hide_start_lines():
            strategy = strategies.build_strategy("multi_worker")
        return pipeline.run(config, request, strategy)
    except strategies.LostWorkerError as error:
        raise errors.InputError(f"{error} This worker's: {program.format_command()}") from error


def _describe_worker(settings: dict) -> dict[str, str]:
    """Returns what must be the same for all workers, as short texts by name."""
    versions = {f"version of {name}": importlib.metadata.version(name) for name in _PACKAGES}
    return {
        **{f"setting {key}": _shorten(value) for key, value in settings.items()},
        "version of Python": ".".join(platform.python_version_tuple()[:2]),
        "version of qup": qup.__version__,
        **versions,
    }


def _shorten(value) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:40]}... ({hashing.hash_text(text)[:12]})"


def run() -> None:
    """Runs the command."""
    if os.environ.get(_LOG_LEVEL) == "2":
        # When a worker is lost, TensorFlow writes pages of errors before it raises one.
        os.environ[_LOG_LEVEL] = "3"
    program.run_pipeline(
        main, parse=train.settings.parse, resolve=train.resolve, joins_workers=True
    )
