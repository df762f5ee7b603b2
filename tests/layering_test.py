"""Imports point downward only: the levels of the house."""

import ast
import pathlib

import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_LEVELS = [
    {"core"},
    {
        "errors",
        "types",
        "registry",
        "files",
        "gradients",
        "norms",
        "compilation",
        "batch_normalization",
        "measurements",
        "progress",
        "paper",
        "nesting",
        "versions",
        "draws",
        "model_files",
        "orchestration",
        "scales",
        "__init__",
    },
    {"datasets", "models", "attacks", "measures", "pix2pix", "unet", "imagenet"},
    {
        "training",
        "evaluation",
        "augmentation",
        "opposite_fgsm",
        "deltas",
        "pairs",
        "checkpoints",
        "summaries",
        "export",
        "workdir",
        "looks",
        "subjects",
        "interruption",
        "figures",
        "curves",
        "translation",
        "lineage",
        "masking",
        "robustness",
        "saved_models",
        "conjugates",
        "conjugate_measures",
        "binary_toy",
        "class_templates",
        "translator_errors",
        "walk_rows",
        "implied_classes",
        "walked_accuracies",
        "transfers",
        "adversarial_training",
        "gradient_steps",
        "predictors",
        "rank_correlations",
        "spectral_fields",
        "evidence_figures",
        "imagenet_folder",
        "imagenet_distortions",
        "imagenet_rows",
        "example",
        "uncertainty_figures",
        "uncertainty_text",
        "uncertainty_rows",
        "uncertainty_measured",
        "uncertainty_networks",
        "uncertainty_differences",
    },
    {"report"},
    {"components"},
    {"pipelines"},
]
_LEVEL = {name: i for i, names in enumerate(_LEVELS) for name in names}
_FILES = sorted((_ROOT / "qup").rglob("*.py"))


def _room(path: pathlib.Path) -> str:
    return path.relative_to(_ROOT / "qup").parts[0].removesuffix(".py")


def _imports(path: pathlib.Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", _FILES, ids=lambda p: str(p.name))
def test_imports_point_downward(path):
    room = _room(path)
    assert room in _LEVEL, f"{room} has no level yet"
    for name in _imports(path):
        parts = name.split(".")
        assert parts[0] not in ("bin", "configs", "tests"), name
        assert name != "absl.flags", "only bin touches flags"
        if room == "orchestration" and parts[0] == "qup":
            assert parts[1] in (room, "core"), (path, name)
        if parts[0] == "qup" and len(parts) > 1 and parts[1] in _LEVEL:
            below = _LEVEL[parts[1]] < _LEVEL[room]
            # Plain modules of one level may use one another; packages that
            # are siblings may not.
            beside = _LEVEL[parts[1]] == _LEVEL[room] and not (
                (_ROOT / "qup" / parts[1]).is_dir() and (_ROOT / "qup" / room).is_dir()
            )
            assert parts[1] == room or below or beside, (path, name)


def test_only_gradients_opens_a_tape_on_inputs():
    tapes = {_room(path) for path in _FILES if "tape.watch(" in path.read_text()}
    assert tapes == {"gradients"}
