"""Requests to an exported classifier, answered by the runtimes that may serve it."""

import dataclasses
import json
import logging

from qup.core import errors
from qup.datasets import examples as example_files
from qup.models.serving import exports as model_exports
from qup.models.serving import requests as serving_requests
from qup.models.serving import runtimes as serving_runtimes
from qup.orchestration import In, Out, component
from qup.pipelines.components import artifacts
from qup.pipelines.components.artifacts import Examples, InfraBlessing, Model

_log = logging.getLogger("qup")


@component
def InfraValidator(
    examples: In[Examples],
    model: In[Model],
    blessing: Out[InfraBlessing],
    *,
    runtimes: list[str],
    exports: list[str],
    versions: dict[str, str],
    split: str = "test",
) -> None:
    """Compares the answers of runtimes, each in a new process, with Keras's.

    Evaluator measures the accuracy of the SavedModel on all images; this step
    compares logits on a few, for every signature and for batches of 1, 7 and 64.

    Args:
      blessing: Blessed if every runtime answers as Keras does. Its additions are
        the requests, warm-up requests, and the model in other formats.
      runtimes: Names of `serving.runtimes.RUNTIMES`.
      exports: Names of `serving.exports.FILES`.
      versions: Of the packages of the runtimes and converters. They count,
        because another version may answer otherwise.
    """
    del versions
    exported, scratch = model.path / artifacts.SERVING, blessing.path.parent
    checks, reason = [], ""
    blessing.additions.mkdir()
    try:
        classifier = artifacts.load_network(model.path)
        images, _, _ = example_files.read(examples.path).get_arrays(split)
        requests = serving_requests.build_requests(
            lambda images: classifier(images, training=False), images
        )
        serving_requests.write_requests(requests, blessing.additions)
        serving_requests.write_warmup_requests(requests, blessing.additions)
        for name in exports:
            destination = blessing.additions / model_exports.FILES[name]
            model_exports.convert(exported, name, destination, scratch=scratch)
        for name in runtimes:
            checks.append(
                serving_runtimes.check_runtime(
                    name, exported, requests, exported=blessing.additions, scratch=scratch
                )
            )
    except errors.InputError as error:
        # The measurements stay; the model is not pushed.
        reason = str(error)
    failed = [check for check in checks if check.state != serving_runtimes.PASSED]
    reason = reason or "; ".join(f"{check.runtime}: {check.reason}" for check in failed)
    blessing.properties["blessed"] = not reason
    (blessing.path / ("INFRA_NOT_BLESSED" if reason else "INFRA_BLESSED")).touch()
    record = {"reason": reason, "checks": [dataclasses.asdict(check) for check in checks]}
    (blessing.path / "infra_blessing.json").write_text(json.dumps(record, indent=1))
    for check in checks:
        if check.state == serving_runtimes.PASSED:
            title = serving_runtimes.RUNTIMES[check.runtime].title
            text = "%s in a new process: logits within %.1e of Keras's, %d of %d of the same class"
            counts = (check.num_agreeing, check.num_images)
            _log.info(text, title, check.max_difference, *counts)
    if reason:
        _log.warning("SavedModel in a new process: not blessed: %s", reason)
