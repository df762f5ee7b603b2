"""The entry point of the containers of a Kubeflow pipeline: runs one step.

    python -m qup.pipelines.engines.kubeflow_step --root=gs://bucket/ifa \
        --json_serialized_invocation_args='{"inputs": ..., "outputs": ...}'

The specification that `--engine=kubeflow` writes names this command. Kubeflow fills in an
ExecutorInput: parameters, artifacts with their addresses, and the file to report to. The container
needs qup alone, neither TFX nor Kubeflow's package.
"""

import argparse
import json
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from qup.core.errors import InputError
from qup.orchestration import OrchestrationError, records
from qup.orchestration.components import Role
from qup.pipelines.engines import steps

# In the root: the folder that takes the place of the working directory, and unfinished work.
_WORKDIR, _STATE = "workdir", ".system/stateful_working_dir"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the step of a command line; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--json_serialized_invocation_args", required=True)
    # TFX's compiler adds others.
    options, _ = parser.parse_known_args(arguments)
    # Kubernetes sends it to a pod that it moves; the step saves its work before it ends.
    signal.signal(signal.SIGTERM, _terminate)
    try:
        run(json.loads(options.json_serialized_invocation_args), options.root.rstrip("/"))
    except (InputError, OrchestrationError) as error:
        print(f"Error: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def _terminate(number: int, frame) -> None:
    raise SystemExit(128 + number)


def run(request: Mapping[str, Any], root: str) -> None:
    """Runs the step of an ExecutorInput, and writes its ExecutorOutput.

    Args:
      request: The ExecutorInput of Kubeflow's pipeline specification, as JSON.
      root: Address of the folder that all steps share.

    Raises:
      InputError: The step is of another version of qup, or cannot use its input.
    """
    workdir = f"{root}/{_WORKDIR}"
    texts = request["inputs"]["parameterValues"]
    component = steps.import_component(texts[records.COMPONENT_KEY])
    parameters = steps.replace_prefix(
        steps.decode_parameters(component, texts), steps.WORKDIR, workdir
    )
    inputs = {}
    for name, listed in request["inputs"].get("artifacts", {}).items():
        key, _ = steps.parse_input_name(component, name)
        (artifact,) = listed["artifacts"]
        kind = component.arguments[key].type
        metadata = artifact.get("metadata", {})
        inputs[name] = records.decode_artifact(kind, artifact["uri"], metadata)
    received = {
        name: listed["artifacts"][0]
        for name, listed in request["outputs"].get("artifacts", {}).items()
    }
    counted = {key: texts[key] for key in component.get_arguments(Role.PARAMETER)}
    counted[records.CODE_KEY] = texts[records.CODE_KEY]
    state = steps.compute_state_name(texts[records.COMPONENT_KEY], counted, inputs)
    outputs = steps.run_step(
        component,
        parameters,
        steps.group_inputs(component, inputs),
        {name: artifact["uri"] for name, artifact in received.items()},
        f"{root}/{_STATE}/{state}",
        folders=steps.list_folders(parameters, workdir) if steps.is_remote(root) else (),
    )
    artifacts = {
        name: {"artifacts": [{**received[name], "metadata": records.encode_artifact(artifact)}]}
        for name, artifact in outputs.items()
    }
    steps.write_text(request["outputs"]["outputFile"], json.dumps({"artifacts": artifacts}))


if __name__ == "__main__":
    sys.exit(main())
