"""Components and pipelines: what is checked while they are built."""

import ast
import os
import pathlib
import subprocess
import sys
from typing import Any, Literal

import pytest

from qup import orchestration
from qup.core.hashing import dump_canonical_json
from qup.orchestration import (
    Artifact,
    In,
    LocalRunner,
    Location,
    Metadata,
    Out,
    PipelineError,
    StatefulDir,
    component,
    errors,
)
from qup.orchestration.components import convert_value


class Examples(Artifact):
    TYPE_NAME = "Examples"


class Model(Artifact):
    TYPE_NAME = "Model"


class BigModel(Model):
    pass


@component
def ExampleGen(examples: Out[Examples], *, count: int = 2) -> None:
    """Makes examples."""
    (examples.path / "rows").write_text("\n".join(map(str, range(count))))


@component
def Trainer(
    examples: In[Examples],
    model: Out[BigModel],
    checkpoints: StatefulDir,
    *,
    epochs: int = 1,
    data_dir: Location[str] = "",
    rate: float = 0.5,
) -> None:
    assert checkpoints.is_dir()
    rows = (examples.path / "rows").read_text().split()
    (model.path / "weights").write_text(f"{epochs} {rate} {len(rows)}")
    model.properties["epochs"] = epochs


@component
def Evaluator(
    model: In[Model],
    report: Out[Artifact],
    baseline: In[Model] | None = None,
    *,
    mode: Literal["short", "long"] = "short",
) -> None:
    report.properties["baseline"] = baseline is not None
    report.properties["epochs"] = model.properties["epochs"]


@component
def Reporter(models: In[list[Model]], others: In[list[Model]] = None, *, out: Out[Model]) -> None:
    texts = [(model.path / "weights").read_text() for model in models]
    (out.path / "text").write_text("; ".join(texts))
    out.properties["others"] = others is None


def test_the_package_needs_the_standard_library_only():
    # psutil is imported by the one function that needs it.
    allowed = {*sys.stdlib_module_names, "qup", "psutil"}
    for path in pathlib.Path(errors.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            else:
                continue
            for name in names:
                assert name.partition(".")[0] in allowed, (path, name)
                assert not name.startswith("qup") or name.startswith(
                    ("qup.orchestration", "qup.core")
                ), (path, name)


def test_the_package_loads_the_standard_library_only():
    script = (
        "import sys; before = set(sys.modules); import qup.orchestration\n"
        "print(*{n.partition('.')[0] for n in set(sys.modules) - before})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=pathlib.Path(__file__).parents[2],
    )
    assert set(done.stdout.split()) <= {*sys.stdlib_module_names, "qup"}


def _run(tmp_path, *nodes, **options):
    root = tmp_path / "root"
    runner = LocalRunner(root, Metadata(root / "metadata.sqlite"), **options)
    return runner.run(nodes)


def test_a_pipeline_with_optional_and_list_inputs_runs(tmp_path):
    gen = ExampleGen(count=3)
    trainers = [
        Trainer(examples=gen.outputs["examples"], epochs=n).with_id(f"Trainer.{n}") for n in (1, 2)
    ]
    models = [trainer.outputs["model"] for trainer in trainers]
    with_baseline = Evaluator(model=models[0], baseline=models[1])
    alone = Evaluator(model=models[1]).with_id("alone")
    reporter = Reporter(models=models)
    # The order of the list does not matter.
    done = _run(tmp_path, reporter, alone, with_baseline, *trainers, gen)
    out = done["Reporter"].outputs["out"][0]
    assert isinstance(out, Model) and out.type_name == "Model"
    assert (out.path / "text").read_text() == "1 0.5 3; 2 0.5 3"
    assert out.properties == {"others": True}
    assert out.path == (tmp_path / "root/Reporter/out" / str(done["Reporter"].id))
    assert done["Evaluator"].outputs["report"][0].properties == {"baseline": True, "epochs": 1}
    assert not done["alone"].outputs["report"][0].properties["baseline"]
    assert isinstance(done["Trainer.1"].outputs["model"][0], BigModel)


def test_the_plain_function_is_kept(tmp_path):
    ExampleGen.fn(Examples(uri=str(tmp_path)), count=1)
    assert (tmp_path / "rows").read_text() == "0"
    assert ExampleGen.__doc__ == "Makes examples."
    assert ExampleGen.name == ExampleGen.__name__ == "ExampleGen"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Trainer(), "'examples' of Trainer is missing"),
        (lambda: Trainer(examples=_channel(), epoch=2), "Did you mean 'epochs'"),
        (lambda: Trainer(examples=_channel(), model=1), "Unknown argument"),
        (lambda: Trainer(examples=_channel(), checkpoints="x"), "Unknown argument"),
        (
            lambda: Trainer(examples=_channel(), epochs="2"),
            "'epochs' of Trainer: expected int, received '2' (str)",
        ),
        (lambda: Trainer(examples=_channel(), epochs=True), "received True"),
        (lambda: Trainer(examples=_channel(), rate=float("nan")), "expected float, received nan"),
        (lambda: Trainer(examples=pathlib.Path("x")), "takes a channel, such as"),
        (
            lambda: Evaluator(model=_channel()),
            "takes Model; ExampleGen.outputs['examples'] has the type Examples",
        ),
        (lambda: Evaluator(model=[_channel()]), "takes one channel; received 1 in a list"),
        (lambda: Reporter(models=[_channel()]), "takes Model"),
        (lambda: Reporter(models=None), "takes a channel"),
        (lambda: ExampleGen(count=1).outputs["example"], "mean 'examples'"),
        (lambda: ExampleGen().with_id("../x"), "Node id '../x'"),
        (lambda: ExampleGen().with_id(".system"), "Node id"),
        (lambda: ExampleGen().with_id("a/b"), "Node id"),
        (lambda: ExampleGen().with_id("a\n"), "Node id"),
        (lambda: Evaluator(model=_model(), mode="longer"), "Literal"),
    ],
)
def test_invalid_nodes_are_rejected(make, says):
    with pytest.raises(PipelineError) as error:
        make()
    assert says in str(error.value)


def _channel():
    return ExampleGen().outputs["examples"]


def _model():
    return Trainer(examples=_channel()).outputs["model"]


def _unannotated(a) -> None: ...
def _rest(*rest: int) -> None: ...
def _options(**options: int) -> None: ...
def _no_artifact(a: In[int]) -> None: ...
def _list_output(a: Out[list[Model]]) -> None: ...
def _default_output(a: Out[Model] = None) -> None: ...
def _default_input(a: In[Model] = 3) -> None: ...
def _wrong_default(*, count: int = "3") -> None: ...
def _returns(a: Out[Model]) -> int: ...


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (_unannotated, "have an annotation"),
        (_rest, "passed by name"),
        (_options, "passed by name"),
        (_no_artifact, "subclass of Artifact; received <class 'int'>"),
        (_list_output, "subclass of Artifact"),
        (_default_output, "the default None"),
        (_default_input, "the default 3"),
        (_wrong_default, "expected int, received '3'"),
        (_returns, "must have the annotation -> None"),
    ],
)
def test_invalid_components_are_rejected(function, says):
    with pytest.raises(PipelineError) as error:
        component(function)
    assert says in str(error.value)


def test_the_example_of_the_package_runs(tmp_path):
    example = orchestration.__doc__.split("```python")[1].split("```")[0]
    (tmp_path / "example.py").write_text(example)
    root = pathlib.Path(__file__).parents[2]
    for kind in ("complete in", "reused execution"):
        result = subprocess.run(
            [sys.executable, "example.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
        )
        assert result.stdout.count(kind) == 2, result
        assert result.stdout.endswith("{'total': 10}\n")


def test_invalid_pipelines_are_rejected(tmp_path):
    gen = ExampleGen()
    trainer = Trainer(examples=gen.outputs["examples"])
    with pytest.raises(PipelineError, match="needs the node ExampleGen"):
        _run(tmp_path, trainer)
    with pytest.raises(PipelineError, match=r"with_id\('ExampleGen.2'\)"):
        _run(tmp_path, ExampleGen(), gen, trainer)
    with pytest.raises(PipelineError, match="Pipeline 'a/b'"):
        LocalRunner(tmp_path, None).run([gen], pipeline="a/b")
    with pytest.raises(PipelineError, match="Did you mean 'full'"):
        _run(tmp_path, gen, verify="ful")
    assert not (tmp_path / "root/ExampleGen").exists()


def test_properties_that_cannot_be_kept_fail_the_execution(tmp_path):
    @component
    def Odd(out: Out[Model]) -> None:
        out.properties["value"] = float("inf")

    with pytest.raises(PipelineError, match=r"'value' of Odd\.outputs"):
        _run(tmp_path, Odd())


@pytest.mark.parametrize(
    ("annotation", "value", "result"),
    [
        (float, 1, 1.0),
        (float | int, 1, 1),
        (int | None, None, None),
        (list[float], (1, 2), [1.0, 2.0]),
        (tuple[float, ...], [1, 2], (1.0, 2.0)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (dict[str, int], {"a": 1}, {"a": 1}),
        (dict, {"a": [1, (2.5, None)]}, {"a": [1, [2.5, None]]}),
        (Any, {"a": True}, {"a": True}),
        (bool, False, False),
    ],
)
def test_parameters_take_their_declared_type(annotation, value, result):
    got = convert_value(annotation, value)
    assert got == result and type(got) is type(result)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 1.0),
        (int, None),
        (bool, 1),
        (str, b"a"),
        (list[int], [1, "a"]),
        (list, "abc"),
        (tuple[int, str], [1]),
        (dict[str, int], {1: 1}),
        (dict[int, int], {1: 1}),
        (dict, {"a": object()}),
        (Any, {1, 2}),
        (float, float("inf")),
        (int | None, "a"),
    ],
)
def test_parameters_of_another_type_are_rejected(annotation, value):
    with pytest.raises(PipelineError, match=r"expected .*, received"):
        convert_value(annotation, value)


def test_canonical_json_has_one_form():
    assert dump_canonical_json({"b": (1, 2.0), "a": None}) == '{"a":null,"b":[1,2.0]}'
