"""Engines that cannot be used are refused before any work."""

import importlib.util

import pytest

from qup.core.errors import InputError
from qup.core.extras import MissingExtraError
from qup.pipelines.engines import LOCAL, MODULES, Engine


def test_the_builtin_runner_needs_nothing():
    assert LOCAL.load() is None and LOCAL.name == "local"
    LOCAL.check()


@pytest.mark.parametrize("name", ["tfx-local", "tfx-beam", "kubeflow"])
def test_a_missing_package_is_one_line(monkeypatch, name):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(MissingExtraError) as caught:
        Engine(name).check()
    message = str(caught.value)
    assert message.startswith(f"The engine {name} needs ml_metadata, which is not installed.")
    assert "pip install --no-deps -r requirements-tfx" in message and "\n" not in message


def test_an_unknown_engine_is_refused():
    for call in (Engine("airflow").check, Engine("airflow").load):
        with pytest.raises(InputError, match=r"Unknown engine 'airflow'\. .*Known: "):
            call()


def test_the_root_of_tfx_is_its_own(tmp_path):
    roots = {name: Engine(name).get_root(tmp_path) for name in MODULES}
    assert (
        roots["local"] == tmp_path and roots["tfx-local"] == roots["tfx-beam"] == tmp_path / "tfx"
    )
    assert [name for name in MODULES if Engine(name).only_writes] == ["kubeflow"]
