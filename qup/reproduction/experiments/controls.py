"""The uncertainty relation, predictors of RA, and controls of Iterative FGSM Augmentation.

Controls use the first network of Table 2 (MNIST, ConvNet) at its fewest epochs:

- Is the augmented classifier more accurate than its translator alone? Translators of permuted
  labels, of predicted labels, and of one pattern per class; a classifier of the translator's size;
  iterates X_n of test images with true and with predicted labels.
- Delta_1 instead of Delta_N, and translators of other widths.
- Attacks through the classifier alone, and transfer attacks between CL and ACL.
- The uncertainty relation of the translator's loss.
- The same network at other temperatures, and networks from adversarial training (PGD-AT, TRADES).
"""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from qup.orchestration import Channel
from qup.pipelines import config, run
from qup.pipelines.components.evaluator import AccuracyMeter
from qup.pipelines.components.examples import LabelShuffler
from qup.pipelines.components.uncertainty import UncertaintyAnalyzer
from qup.reproduction import experiments
from qup.reproduction.builder import ExperimentBuilder, NetworkHandle
from qup.reproduction.components.analysis import PredictorAnalyzer
from qup.reproduction.components.controls import (
    ImpliedClassMeter,
    LabelPredictor,
    TemplateDeltaGen,
    TransferAnalyzer,
    TranslatorAnalyzer,
    TranslatorMeter,
    WalkEvaluator,
)
from qup.reproduction.presets import ROBUST_METHODS, NetworkPreset

_DOMAINS = ("box", "window:0.1")
# Temperature of the most trained network: it changes sigma_p, but not TA.
_LAST_TEMPERATURE = 0.25
_CONTROL_TEMPERATURES = (0.25, 4.0)


@experiments.register(order=100)
def uncertainty(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Eqs. 14 and 19: both sides of the relation for the first network of Table 2."""
    table = builder.scale.tables["table2"]
    network = table.networks[0]
    for seed in seeds:
        handles = [
            builder.add_classifier(network, epochs, seed)
            for epochs in builder.select_epochs(table, network)
        ]
        for handle in handles:
            builder.add_evaluation(handle)
            for domain in _DOMAINS:
                _add_uncertainty(builder, handle, domain)
        if handles:
            _add_accuracy_at_temperature(builder, handles[-1], _LAST_TEMPERATURE)
            for domain in _DOMAINS:
                _add_uncertainty(builder, handles[-1], domain, _LAST_TEMPERATURE)


def _add_accuracy_at_temperature(
    builder: ExperimentBuilder, handle: NetworkHandle, temperature: float
) -> None:
    builder.add_node(
        AccuracyMeter,
        f"AccuracyMeter.{handle.name}.temperature-{temperature:g}",
        **handle.inputs,
        attack=config.get_attack_options(handle.arguments.config),
        temperature=temperature,
        seed=handle.seed,
    )


def _add_uncertainty(
    builder: ExperimentBuilder, handle: NetworkHandle, domain: str, temperature: float = 1.0
) -> None:
    setting = {
        "packet": "loss",
        "label": builder.scale.label,
        "temperature": temperature,
        "domain": domain,
        "centre": "mean",
        "control": "",
    }
    suffix = "" if temperature == 1 else f".temperature-{temperature:g}"
    builder.add_node(
        UncertaintyAnalyzer,
        f"UncertaintyAnalyzer.{domain.replace(':', '-')}.{handle.name}{suffix}",
        **handle.inputs,
        setting=setting,
        estimators=["importance"],
        sizes=dict(builder.scale.uncertainty),
        directions={},
        required=False,
        sampler=run.collect_versions()["tensorflow-probability"],
        seed=handle.seed,
    )


@experiments.register(order=105)
def predictors(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """Possible predictors of RA, and RA, of every network.

    Section 3.3 explains a low RA by sigma_p. Simpler predictors are gradients and margins at the
    images, and CLEVER. A rank correlation needs many networks: all networks of the tables, and
    those from adversarial training.
    """
    for seed in seeds:
        for handle in _add_predictor_networks(builder, seed):
            builder.add_evaluation(handle)
            builder.add_strong_attacks(handle)
            _add_predictors(builder, handle)
            _add_uncertainty(builder, handle, "box")


def _add_predictor_networks(builder: ExperimentBuilder, seed: int) -> Iterator[NetworkHandle]:
    for table in builder.scale.tables.values():
        yield from builder.add_table_classifiers(table, seed)
    table = builder.scale.tables["table2"]
    if builder.is_selected(table.networks[0], table.epochs[0]):
        yield from _add_robust_classifiers(builder, table.networks[0], seed)


def _add_robust_classifiers(
    builder: ExperimentBuilder, network: NetworkPreset, seed: int
) -> Iterator[NetworkHandle]:
    for method in ROBUST_METHODS:
        for epochs in builder.scale.robust_epochs:
            yield builder.add_robust_classifier(network, epochs, seed, method)


def _add_predictors(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    builder.add_node(
        PredictorAnalyzer,
        f"PredictorAnalyzer.{handle.name}",
        **handle.inputs,
        num_images=builder.scale.strong_images,
        clever={"num_images": builder.scale.few_images, **builder.scale.clever},
        seed=handle.seed,
    )


@experiments.register(order=60)
def controls(builder: ExperimentBuilder, seeds: Sequence[int]) -> None:
    """All controls, see the module."""
    table = builder.scale.tables["table2"]
    for seed in seeds:
        handle = builder.add_first_classifier(table, seed)
        if handle is None:
            return
        builder.add_evaluation(handle)
        builder.add_strong_attacks(handle)
        for temperature in _CONTROL_TEMPERATURES:
            _add_accuracy_at_temperature(builder, handle, temperature)
        for temperature in (1.0, *_CONTROL_TEMPERATURES):
            _add_uncertainty(builder, handle, "box", temperature)
        _add_leakage_controls(builder, handle)
        _add_predictors(builder, handle)
        for robust_handle in _add_robust_classifiers(builder, handle.network, seed):
            builder.add_evaluation(robust_handle)
            builder.add_strong_attacks(robust_handle)
            _add_predictors(builder, robust_handle)
        _add_translator_variants(builder, handle)
        # Last, because strong attacks on a U-Net take the longest.
        _add_unet_classifier(builder, handle)


def _add_leakage_controls(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Adds controls of label leakage through the translator."""
    deltas = builder.add_deltas(handle).outputs["deltas"]
    translator = builder.add_translator(handle, deltas)
    pair = builder.add_augmented_classifier(handle, translator)
    builder.add_evaluation(pair)
    _add_translator_errors(builder, handle, translator, deltas)
    for domain in _DOMAINS:
        builder.add_node(
            TranslatorAnalyzer,
            f"TranslatorAnalyzer.{domain.replace(':', '-')}.{handle.name}",
            **handle.inputs,
            translator=translator,
            deltas=deltas,
            domain=domain,
            image=0,
            sizes=dict(builder.scale.uncertainty),
            seed=handle.seed,
            row_parameters=handle.arguments.build_combiner_kwargs()["row_parameters"],
        )
    builder.add_evaluation(
        builder.add_augmented_classifier(handle, translator, "classifier", through="classifier")
    )
    common_arguments = {
        **handle.inputs,
        "attack": config.get_attack_options(handle.arguments.config),
        "num_images": None,
        "seed": handle.seed,
    }
    builder.add_node(
        TransferAnalyzer,
        f"TransferAnalyzer.{handle.name}",
        augmented=pair.model,
        **common_arguments,
    )
    builder.add_node(
        ImpliedClassMeter,
        f"ImpliedClassMeter.{handle.name}",
        translator=translator,
        deltas=deltas,
        augmented=pair.model,
        **common_arguments,
    )
    builder.add_node(
        WalkEvaluator,
        f"WalkEvaluator.{handle.name}",
        walk=handle.arguments.build_delta_gen_kwargs()["walk"],
        walked_with=["true", "predicted"],
        **common_arguments,
    )
    shuffled = builder.add_node(
        LabelShuffler,
        f"LabelShuffler.{handle.network.dataset}.seed-{handle.seed}",
        examples=handle.examples,
        seed=handle.seed,
    ).outputs["shuffled"]
    predicted = builder.add_node(
        LabelPredictor, f"LabelPredictor.{handle.name}", **handle.inputs
    ).outputs["predicted"]
    for examples, control in ((shuffled, "permuted_labels"), (predicted, "predicted_labels")):
        # Iterates use these labels, measurements the true ones.
        relabelled_handle = dataclasses.replace(handle, examples=examples)
        control_deltas = builder.add_deltas(relabelled_handle, control).outputs["deltas"]
        _add_control_pair(builder, handle, control_deltas, control)
    templates = builder.add_node(
        TemplateDeltaGen, f"TemplateDeltaGen.{handle.name}", examples=handle.examples, deltas=deltas
    ).outputs["templates"]
    _add_control_pair(builder, handle, templates, "class_template")


def _add_control_pair(
    builder: ExperimentBuilder, handle: NetworkHandle, deltas: Channel, control: str, **changes: int
) -> None:
    """Trains a translator on other deltas or with other options, and attacks the ACL."""
    translator = builder.add_translator(handle, deltas, control, **changes)
    row_parameters = {f"translator_{key}": value for key, value in changes.items()}
    builder.add_evaluation(
        builder.add_augmented_classifier(
            handle, translator, control, control=control, **row_parameters
        )
    )
    _add_translator_errors(builder, handle, translator, deltas, control=control, **row_parameters)


def _add_translator_errors(
    builder: ExperimentBuilder,
    handle: NetworkHandle,
    translator: Channel,
    deltas: Channel,
    **row_parameters: Any,
) -> None:
    common_parameters = handle.arguments.build_combiner_kwargs()["row_parameters"]
    names = (row_parameters.get("control"), handle.name)
    builder.add_node(
        TranslatorMeter,
        ".".join(("TranslatorMeter", *filter(None, names))),
        **handle.inputs,
        translator=translator,
        deltas=deltas,
        row_parameters={**common_parameters, **row_parameters},
    )


def _add_translator_variants(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Adds translators of Delta_1, and translators of other widths."""
    options = handle.arguments.build_delta_gen_kwargs()["walk"]
    # One step of the total length of N steps.
    deltas_node = builder.add_deltas(
        handle, "delta_1", num_steps=1, step_size=options["num_steps"] * options["step_size"]
    )
    _add_control_pair(builder, handle, deltas_node.outputs["deltas"], "delta_1")
    for width in builder.scale.widths:
        if width != handle.arguments.config.translator.width:
            deltas = builder.add_deltas(handle).outputs["deltas"]
            _add_control_pair(builder, handle, deltas, f"width_{width}", width=width)


def _add_unet_classifier(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Trains the network of the translator as a classifier."""
    translator = handle.arguments.config.translator
    # A classifier of width 1 has the channels of a translator of width 16.
    network = NetworkPreset(
        handle.network.dataset,
        "unet_classifier",
        "U-Net as classifier",
        {"width": translator.width / 16},
        True,
    )
    unet_handle = builder.add_classifier(network, max(1, translator.epochs), handle.seed)
    builder.add_evaluation(unet_handle)
    builder.add_strong_attacks(unet_handle)
