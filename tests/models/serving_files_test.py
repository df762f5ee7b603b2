"""The files of configs/serving: what they must have, and the schemas of their programs."""

import json
import pathlib
import re
import subprocess
import sys

import pytest
import yaml

from tests import environments

_ROOT = pathlib.Path(__file__).parents[2]
_FOLDER = _ROOT / "configs" / "serving"
_MODELS = {"classifier", "augmented_classifier"}
_HINT = {"INFERENCE_PRECISION_HINT": "f32"}


def _load(name):
    return list(yaml.safe_load_all((_FOLDER / name).read_text()))


def test_openvino_computes_in_float32():
    configs = json.loads((_FOLDER / "openvino.json").read_text())["model_config_list"]
    assert {c["config"]["name"] for c in configs} == _MODELS
    assert all(c["config"]["plugin_config"] == _HINT for c in configs)


def test_compose_mounts_what_its_servers_read():
    (compose,) = _load("compose.yaml")
    for service in compose["services"].values():
        targets = {volume.split(":")[-2]: volume for volume in service["volumes"]}
        assert all(volume.endswith(":ro") for volume in targets.values())
        assert targets["/models"].startswith("${SERVING:?")
        (flag,) = [c for c in service["command"] if re.match(r"--\w*config\w*=/", c)]
        file = flag.partition("=")[2]
        assert (_FOLDER / pathlib.Path(file).name).is_file() and file in targets


def test_kubernetes_names_agree():
    deployment, service = _load("kubernetes.yaml")
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    names = {port["name"]: port["containerPort"] for port in container["ports"]}
    for port in service["spec"]["ports"]:
        assert names[port["targetPort"]] == port["port"]
    volumes = {v["name"] for v in deployment["spec"]["template"]["spec"]["volumes"]}
    assert {mount["name"] for mount in container["volumeMounts"]} == volumes


def test_kserve_finds_its_runtime():
    *services, runtime = _load("kserve.yaml")
    assert [s["kind"] for s in services] == ["InferenceService"] * 2
    models = [service["spec"]["predictor"]["model"] for service in services]
    assert [model["modelFormat"]["name"] for model in models] == ["tensorflow", "openvino"]
    assert models[1]["runtime"] == runtime["metadata"]["name"]
    (container,) = runtime["spec"]["containers"]
    assert f"--plugin_config={json.dumps(_HINT, separators=(',', ':'))}" in container["args"]


def test_the_document_links_each_file():
    text = (_ROOT / "docs" / "serving.md").read_text()
    for path in _FOLDER.iterdir():
        assert f"(../configs/serving/{path.name})" in text, path


_SCHEMAS = """
import json, pathlib, sys
import jsonschema
import kubernetes_validate
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

folder, compose_schema = map(pathlib.Path, sys.argv[1:])
load = lambda name: list(yaml.safe_load_all((folder / name).read_text()))
schema = json.loads(compose_schema.read_text())
validator = jsonschema.Draft7Validator(schema)
(compose,) = load("compose.yaml")
validator.validate(compose)
compose["services"]["tensorflow"]["prots"] = []
assert list(validator.iter_errors(compose)), "a misspelt key passes"
for document in load("kubernetes.yaml"):
    kubernetes_validate.validate(document, "1.30", strict=True)
text = (folder / "models.config").read_text()
config = text_format.Parse(text, model_server_config_pb2.ModelServerConfig())
print([(c.name, c.base_path) for c in config.model_config_list.config])
"""
_KSERVE = """
import pathlib, re, sys
import kserve
import yaml
from kubernetes import client

def check(value, kind, place):
    if match := re.fullmatch(r"list\\[(.+)\\]", kind):
        assert isinstance(value, list), place
        for i, element in enumerate(value):
            check(element, match[1], f"{place}[{i}]")
    elif hasattr(kserve, kind):
        known = getattr(kserve, kind)
        names = {json: python for python, json in known.attribute_map.items()}
        for key, element in value.items():
            assert key in names, f"{place}.{key} is unknown; known: {sorted(names)}"
            check(element, known.openapi_types[names[key]], f"{place}.{key}")
    elif hasattr(client, kind):
        # Unknown fields are dropped.
        read = getattr(client, kind).from_dict(value)
        assert read.model_dump(by_alias=True, exclude_none=True) == value, place
    else:
        assert kind in ("str", "bool", "int") and type(value).__name__ == kind, (place, kind)

for document in yaml.safe_load_all(pathlib.Path(sys.argv[1]).read_text()):
    group, version = document["apiVersion"].split("/")
    assert group == "serving.kserve.io"
    check(document, version.capitalize() + document["kind"], document["kind"])
    print(document["kind"])
"""


@pytest.fixture(scope="module")
def install(tmp_path_factory):
    def make(name, *packages, options=()):
        folder = tmp_path_factory.mktemp(name)
        environments.create(folder, *packages, options=options, with_current=False)
        return folder

    return make


def _run(folder, *arguments):
    command = [str(folder / "bin" / "python"), "-c", *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True)


@pytest.mark.slow
def test_the_files_follow_the_schemas_of_compose_and_kubernetes(install, tmp_path):
    packages = ("jsonschema", "pyyaml", "kubernetes-validate==1.37.0")
    folder = install("schemas", *packages)
    (site,) = folder.glob("lib/python*/site-packages")
    current = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "current.pth").write_text(f"{current}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    # Of the first, its schema alone.
    for requirement in ("docker-compose==1.29.2", "tensorflow-serving-api"):
        command = [*pip, "install", "--quiet", "--no-deps", requirement]
        subprocess.run(command, check=True, capture_output=True)
    schema = site / "compose" / "config" / "compose_spec.json"
    done = _run(folder, _SCHEMAS, _FOLDER, schema)
    assert done.returncode == 0, done.stderr
    expected = [(name, f"/models/{name}") for name in ("classifier", "augmented_classifier")]
    assert done.stdout.splitlines()[-1] == str(expected)


@pytest.mark.slow
def test_the_manifest_of_kserve_follows_its_classes(install):
    folder = install("kserve", "kserve==0.21.0", "pyyaml")
    done = _run(folder, _KSERVE, _FOLDER / "kserve.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["InferenceService", "InferenceService", "ServingRuntime"]
