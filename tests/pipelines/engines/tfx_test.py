"""The pipeline on TFX itself: LocalDagRunner and ML Metadata, in processes of their own.

TFX is installed for these tests alone, in a folder before the other packages, because its versions
conflict with others.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys

import pytest

from qup.core import files, measurements

pytestmark = pytest.mark.slow

_ROOT = pathlib.Path(__file__).parents[3]
_EPOCHS, _KILLED_AFTER = 12, 4
_BUILD = """
import json, pathlib, sys
from qup.cli import settings
from qup.pipelines import ifa, run
from qup.pipelines.engines import tfx
config = settings.load_dataset_settings("digits", "smoke")
config.training.epochs, config.workdir = (1, 2), sys.argv[1]
nodes = ifa.build_nodes(run.open_run(config))
def describe(workdir):
    return {c.id: {
        "parameters": dict(c.exec_properties), "class": type(c).__name__,
        "inputs": {k: [v.producer_component_id, v.type_name] for k, v in c.inputs.items()},
        "outputs": {k: v.type_name for k, v in c.outputs.items()},
    } for c in tfx.build_tfx_components(nodes, workdir=workdir)}
print(json.dumps([[n.id for n in nodes], describe(None), describe(pathlib.Path(sys.argv[1]))]))
"""
_READ = """
import sys
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2 as pb
for path in sys.argv[1:]:
    config = pb.ConnectionConfig()
    config.sqlite.filename_uri, config.sqlite.connection_mode = path, 1
    store = metadata_store.MetadataStore(config)
    (artifact,) = [a for a in store.get_artifacts() if "/deltas/" in a.uri or "Gen" in a.uri][:1]
    print(len(store.get_executions()), len(store.get_artifacts()),
          len(store.get_contexts_by_type("pipeline_run")),
          len(store.get_events_by_artifact_ids([artifact.id])) > 0)
"""


def install_requirements(name, folder):
    """Installs a file of requirements; returns the variables of a process that has them."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    install = subprocess.run(
        [*pip, "--no-deps", "--target", folder, "-r", _ROOT / name], capture_output=True, text=True
    )
    if install.returncode:
        reason = install.stderr.strip().splitlines()[-1:]
        # Where nothing may be left out, as in .ci/run, this is a failure.
        leave = pytest.fail if os.environ.get("QUP_SKIP_NOTHING") else pytest.skip
        leave(f"{name} cannot be installed: {reason}")
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{_ROOT}", "COLUMNS": "400"}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return install_requirements("requirements-tfx.txt", tmp_path_factory.mktemp("tfx"))


def run_python(environment, *arguments):
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done


def test_nodes_become_components_of_tfx(environment, tmp_path):
    done = run_python(environment, "-c", _BUILD, tmp_path / "w")
    node_ids, local, cluster = json.loads(done.stdout.splitlines()[-1])
    assert list(local) == node_ids
    reporter = local["Reporter"]
    assert reporter["inputs"] == {
        "evaluations_0": ["Evaluator.CL.epoch-1", "qup.ModelEvaluation"],
        "evaluations_1": ["Evaluator.ACL.epoch-1", "qup.ModelEvaluation"],
        "evaluations_2": ["Evaluator.CL.epoch-2", "qup.ModelEvaluation"],
        "evaluations_3": ["Evaluator.ACL.epoch-2", "qup.ModelEvaluation"],
        "analyses_0": ["Analyzer.epoch-1", "qup.ModelAnalysis"],
        "analyses_1": ["Analyzer.epoch-2", "qup.ModelAnalysis"],
    }
    trainer = local["Trainer.epoch-2"]
    assert trainer["class"] == "TrainerStep"
    assert trainer["inputs"]["previous"] == ["Trainer.epoch-1", "qup.ModelRun"]
    assert trainer["outputs"] == {"model": "qup.Model", "run": "qup.ModelRun"}
    assert trainer["parameters"]["epochs"] == "2"
    assert trainer["parameters"]["model_name"] == '"convnet"'
    assert trainer["parameters"]["qup_component"] == "qup.pipelines.components.trainer.Trainer"
    assert re.fullmatch("[0-9a-f]{64}", trainer["parameters"]["qup_code"])
    # A location does not count for TFX's cache.
    assert "log_dir" not in trainer["parameters"]
    # On a cluster there is no such folder as here, and names are those of Kubernetes.
    assert all(re.fullmatch("[a-z][a-z0-9-]*[a-z0-9]", name) for name in cluster)
    assert len(cluster) == len(local)
    parameters = cluster["trainer-epoch-2"]["parameters"]
    assert re.fullmatch(r'"\{workdir\}/tensorboard/convnet-\w+"', parameters["log_dir"])
    pusher = cluster["pusher-classifier-epoch-2"]["parameters"]
    assert pusher["destination"] == '"{workdir}/serving/classifier"'
    assert str(tmp_path) not in json.dumps(cluster)


def _start_toys(environment, root, *arguments):
    """Starts the pipeline of tests/pipelines/engines/toys.py."""
    module = ("-m", "tests.pipelines.engines.toys", "tfx-local", str(root))
    return subprocess.Popen(
        [sys.executable, *module, *arguments],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _read_until(process, text):
    """Reads standard error until a line that contains a text; returns what was read."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if text in line:
            return "".join(lines)
    raise AssertionError("".join(lines))


def _list_steps(log):
    return [int(n) for n in re.findall(r"^step (\d+)", log, re.MULTILINE)]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_step_resumes(environment, tmp_path, number):
    flags = ("--steps=20",)
    process = _start_toys(environment, tmp_path, *flags)
    _read_until(process, "step 3")
    process.send_signal(number)
    process.communicate()
    assert process.returncode == (143 if number == signal.SIGTERM else -number)
    unfinished = list((tmp_path / "tfx").glob("Slow.20/model/*"))
    assert len(unfinished) == 1
    process = _start_toys(environment, tmp_path, *flags)
    output, log = process.communicate()
    assert process.returncode == 0, log
    assert re.search(r"Slow\.20: execution \d was abandoned", log)
    steps = _list_steps(log)
    assert steps[0] in (3, 4) and 19 in steps
    assert not unfinished[0].exists()
    assert not list((tmp_path / "tfx").glob("*/.system/stateful_working_dir/*"))
    assert "Sender Sender COMPLETE {'steps': 21}" in output


def test_locations_do_not_count_and_senders_run_every_time(environment, tmp_path):
    first = _start_toys(environment, tmp_path)
    output, log = first.communicate()
    assert first.returncode == 0, log
    assert "Source Source COMPLETE {'even': True, 'log_dir': 'logs'}" in output
    assert _list_steps(log).count(0) == 2
    second = _start_toys(environment, tmp_path, "--log_dir=elsewhere")
    output, log = second.communicate()
    assert second.returncode == 0, log
    assert "Source Source CACHED {'even': True, 'log_dir': 'logs'}" in output
    assert "Sender Sender COMPLETE {'steps': 4}" in output and not _list_steps(log)


def test_an_error_is_one_line(environment, tmp_path):
    process = _start_toys(environment, tmp_path, "--fail")
    _, log = process.communicate()
    assert process.returncode == 1 and "Traceback" not in log
    lines = [line for line in log.splitlines() if "receiver" in line or "Execution" in line]
    assert lines == [
        "Sender: failed: InputError: The receiver is closed. Open it.",
        "Error: The receiver is closed. Open it.",
    ]


def test_a_root_is_used_by_one_process_at_a_time(environment, tmp_path):
    root = tmp_path / "tfx"
    root.mkdir()
    with files.lock_file(root / ".qup.lock"):
        process = _start_toys(environment, tmp_path)
        log = _read_until(process, f"Waiting for another process that runs TFX in {root}.")
        assert "execution" not in log
    output, log = process.communicate()
    assert process.returncode == 0, log
    assert "Sender Sender COMPLETE {'steps': 4}" in output


def _list_flags(workdir, engine):
    return [
        *("-m", "bin.run_ifa", "--dataset=digits", "--smoke", f"--epochs={_EPOCHS}"),
        *(f"--workdir={workdir}", f"--engine={engine}"),
    ]


def _kill_during_training(environment, workdir):
    """Starts the pipeline, and kills it after some epochs of the classifier."""
    process = subprocess.Popen(
        [sys.executable, *_list_flags(workdir, "tfx-local")],
        cwd=_ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    _read_until(process, f"classifier: epoch {_KILLED_AFTER}:")
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_the_whole_pipeline_on_tfx(environment, tmp_path):
    own, other = tmp_path / "own", tmp_path / "tfx"
    run_python(os.environ, *_list_flags(own, "local"))
    _kill_during_training(environment, other)
    resumed = run_python(environment, *_list_flags(other, "tfx-local")).stderr
    assert "Trainer.epoch-12: execution 2 was abandoned" in resumed
    epochs = [int(n) for n in re.findall(r"classifier: epoch (\d+):", resumed)]
    assert epochs and epochs[0] > _KILLED_AFTER - 1 and epochs[-1] == _EPOCHS
    assert len(epochs) < _EPOCHS
    root = other / "pipeline" / "tfx"
    assert not list(root.glob("*/model/2")) and not list(root.glob("*/.system/stateful*/*"))

    # The same numbers, to the last bit.
    table = (own / "measurements.csv").read_bytes()
    assert (other / "measurements.csv").read_bytes() == table
    assert len(measurements.read_rows(own / "measurements.csv")) > 10
    assert {p.name for p in (other / "figures").iterdir()} == {
        p.name for p in (own / "figures").iterdir()
    }
    for name in ("classifier", "augmented_classifier"):
        contents = [p / "serving" / name / "12/assets.extra/qup-content" for p in (own, other)]
        assert contents[0].read_bytes() == contents[1].read_bytes()

    # Everything is cached but the Pusher, which looks at its destination every time.
    cached = run_python(environment, *_list_flags(other, "tfx-local"))
    executed = set(re.findall(r"^(\S+): complete in", cached.stderr, re.MULTILINE))
    assert executed == {"Pusher.classifier.epoch-12", "Pusher.augmented_classifier.epoch-12"}
    assert "Trainer.epoch-12: reused by TFX" in cached.stderr
    assert "classifier/12, augmented_classifier/12" in cached.stdout
    assert (other / "measurements.csv").read_bytes() == table

    _check_lineage(environment, own, other, cached.stdout)
    _check_damage(environment, other, root)
    assert (other / "measurements.csv").read_bytes() == table
    check_error(environment, other, _list_flags(other, "tfx-local"))


def _check_lineage(environment, own, other, output):
    (command,) = re.findall(r"Lineage +python (.+)", output)
    assert command.endswith("/pipeline/tfx")
    shown = run_python({**os.environ, "COLUMNS": "300"}, *command.split()).stdout
    assert shown.startswith("Run ifa.") and "2 executed, 11 reused" in shown
    # Of the built-in runner there is nothing in this folder.
    wide = {**os.environ, "COLUMNS": "300"}
    assert run_python(wide, "-m", "bin.show_lineage", other).stdout == shown
    assert re.search(
        r"by Trainer\.epoch-12 \(Trainer\), execution \d+: COMPLETE .*, code [0-9a-f]{12}", shown
    )
    assert "model_name=convnet" in shown and "epochs=12" in shown
    assert re.search(r"qup\.Model \d+  Trainer\.epoch-12/model/\d+  [0-9a-f]{12}", shown)
    assert "augmentation.num_steps=5" in shown and "qup_" not in shown
    # ML Metadata's library reads what TFX wrote and what the built-in runner wrote.
    databases = [own / "pipeline/metadata.sqlite", other / "pipeline/tfx/metadata.sqlite"]
    answers = run_python(environment, "-c", _READ, *databases).stdout.splitlines()
    counts = [line.split() for line in answers]
    assert [c[2:] for c in counts] == [["1", "True"], ["3", "True"]]
    assert all(int(n) >= 11 for c in counts for n in c[:2])


def _check_damage(environment, workdir, root):
    """TFX itself does not look at the content of the files that it reuses."""
    (path,) = root.glob("Reporter/report/*/measurements.csv")
    os.truncate(path, 10)
    done = run_python(environment, *_list_flags(workdir, "tfx-local"))
    assert f"Reporter: not reused: {path} has 10 bytes instead of" in done.stderr
    executed = set(re.findall(r"^(\S+): complete in", done.stderr, re.MULTILINE))
    assert "Reporter" in executed and "Trainer.epoch-12" not in executed


def check_error(environment, workdir, arguments):
    """Checks that the error of a step is one line; all steps but the Pushers are cached."""
    served = workdir / "serving" / "classifier"
    shutil.rmtree(served)
    served.write_text("a file in the place of the folder of versions")
    done = subprocess.run(
        [sys.executable, *arguments], cwd=_ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"Error: Cannot write {served}: File exists.")
