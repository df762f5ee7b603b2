"""What a sceptic asks of Iterative FGSM Augmentation and of the trade-off.

All of the first network of Table 2 (MNIST, ConvNet) after the fewest epochs:

- Does the pair know more than its translator? The same with labels that are
  permuted or only predicted, with one fixed pattern a class, with a plain
  classifier of the translator's size, and unseen images walked with true and
  with predicted labels.
- Delta_1 instead of Delta_N, and translators of other widths.
- Attacks through the classifier alone, and carried over from CL to ACL.
- The uncertainty relation of the translator's own loss.
- The same network at other temperatures, and networks trained on attacked
  images (PGD-AT, TRADES).
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from qup.orchestration import Channel
from qup.pipelines import config, run
from qup.pipelines.components.evaluator import AccuracyMeter
from qup.pipelines.components.examples import LabelShuffler
from qup.pipelines.components.uncertainty import UncertaintyAnalyzer
from qup.reproduction import builder as reproduction_builder
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
from qup.reproduction.presets import NetworkPreset
from qup.training.adversarial import METHODS

# Eqs. 14 and 19: both sides of the uncertainty relation, over the epochs.


UNCERTAINTY_DOMAINS = ("box", "window:0.1")
# The newest network's logits divided by it: TA stays, the deviations move.
LAST_TEMPERATURE = 0.25


@experiments.register(order=100)
def uncertainty(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the relation of the first network of Table 2."""
    table = builder.scale.tables["table2"]
    network = table.networks[0]
    for seed in seeds:
        handles = [
            builder.add_classifier(network, epochs, seed)
            for epochs in table.epochs
            if builder.is_selected(network, epochs)
        ]
        for handle in handles:
            builder.add_evaluation(handle)
            for domain in UNCERTAINTY_DOMAINS:
                add_uncertainty(builder, handle, domain)
        if handles:
            add_accuracy_at_temperature(builder, handles[-1], LAST_TEMPERATURE)
            for domain in UNCERTAINTY_DOMAINS:
                add_uncertainty(builder, handles[-1], domain, LAST_TEMPERATURE)


def add_accuracy_at_temperature(
    builder: ExperimentBuilder, handle: NetworkHandle, temperature: float
) -> None:
    """Asks for TA and RA of one network at another temperature."""
    builder.add_node(
        AccuracyMeter,
        f"AccuracyMeter.{handle.name}.temperature-{temperature:g}",
        **handle.inputs,
        attack=config.get_attack_options(handle.arguments.config),
        temperature=temperature,
        seed=handle.seed,
    )


def add_uncertainty(
    builder: ExperimentBuilder, handle: NetworkHandle, domain: str, temperature: float = 1.0
) -> None:
    """Asks for the relation of one network."""
    setting = {
        "packet": "loss",
        "label": builder.scale.label,
        "temperature": temperature,
        "domain": domain,
        "centre": "mean",
        "control": "",
    }
    temperature_suffix = "" if temperature == 1 else f".temperature-{temperature:g}"
    domain_label = domain.replace(":", "-")
    builder.add_node(
        UncertaintyAnalyzer,
        f"UncertaintyAnalyzer.{domain_label}.{handle.name}{temperature_suffix}",
        **handle.inputs,
        setting=setting,
        estimators=["importance"],
        sizes=dict(builder.scale.uncertainty),
        directions={},
        required=False,
        sampler=run.collect_versions()["tensorflow-probability"],
        seed=handle.seed,
    )


# What may predict robust accuracy: of every network, all candidates.
#
# Section 3.3 makes sigma_p the reason of a low RA. Beside it stand what is
# simpler: gradients and margins at the images themselves, and CLEVER. A rank
# correlation needs many networks, so all of the tables are asked for, and those
# trained on attacked images.


@experiments.register(order=105)
def predictors(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for the candidates and for RA of every network."""
    for seed in seeds:
        for handle in _add_predictor_networks(builder, seed):
            builder.add_evaluation(handle)
            builder.add_strong_attacks(handle)
            add_predictors(builder, handle)
            add_uncertainty(builder, handle, "box")


def _add_predictor_networks(builder: ExperimentBuilder, seed: int) -> Iterator[NetworkHandle]:
    for table in builder.scale.tables.values():
        for network in table.networks:
            for epochs in table.epochs:
                if builder.is_selected(network, epochs):
                    yield builder.add_classifier(network, epochs, seed)
    table = builder.scale.tables["table2"]
    network = table.networks[0]
    if builder.is_selected(network, table.epochs[0]):
        for method in METHODS:
            for epochs in builder.scale.robust_epochs:
                yield reproduction_builder.add_robust_classifier(
                    builder, network, epochs, seed, method
                )


def add_predictors(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Asks for gradients, margins and CLEVER of one network."""
    sampling = {"num_images": builder.scale.few_images, **builder.scale.clever}
    builder.add_node(
        PredictorAnalyzer,
        f"PredictorAnalyzer.{handle.name}",
        **handle.inputs,
        num_images=builder.scale.strong_images,
        clever=sampling,
        seed=handle.seed,
    )


CONTROL_TEMPERATURES = (0.25, 4.0)


@experiments.register(order=60)
def controls(builder: ExperimentBuilder, seeds: Iterable[int]) -> None:
    """Asks for every control."""
    table = builder.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    if not builder.is_selected(network, epochs):
        return
    for seed in seeds:
        handle = builder.add_classifier(network, epochs, seed)
        builder.add_evaluation(handle)
        builder.add_strong_attacks(handle)
        _add_temperatures(builder, handle)
        _add_leakage_controls(builder, handle)
        add_predictors(builder, handle)
        for method in METHODS:
            for number in builder.scale.robust_epochs:
                robust_handle = reproduction_builder.add_robust_classifier(
                    builder, network, number, seed, method
                )
                builder.add_evaluation(robust_handle)
                builder.add_strong_attacks(robust_handle)
                add_predictors(builder, robust_handle)
        _add_translator_variants(builder, handle)
        # The strong attacks on a U-Net take the longest of all.
        _add_plain_unet(builder, handle)


def _add_temperatures(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    for temperature in CONTROL_TEMPERATURES:
        add_accuracy_at_temperature(builder, handle, temperature)
    # sigma_p moves with the temperature, and TA does not.
    for temperature in (1.0, *CONTROL_TEMPERATURES):
        add_uncertainty(builder, handle, "box", temperature)


def _add_leakage_controls(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Asks whose knowledge the pair's accuracies are."""
    deltas_node = builder.add_deltas(handle)
    deltas = deltas_node.outputs["deltas"]
    translator = builder.add_translator(handle, deltas).outputs["translator"]
    pair = builder.add_augmented_classifier(handle, translator)
    builder.add_evaluation(pair)
    _add_translator_errors(builder, handle, translator, deltas)
    _add_translator_relation(builder, handle, translator, deltas)
    classifier_only_pair = builder.add_augmented_classifier(
        handle, translator, "classifier", through="classifier"
    )
    builder.add_evaluation(classifier_only_pair)
    attack = config.get_attack_options(handle.arguments.config)
    shared_arguments = {"attack": attack, "num_images": None, "seed": handle.seed}
    builder.add_node(
        TransferAnalyzer,
        f"TransferAnalyzer.{handle.name}",
        **handle.inputs,
        augmented=pair.model,
        **shared_arguments,
    )
    builder.add_node(
        ImpliedClassMeter,
        f"ImpliedClassMeter.{handle.name}",
        **handle.inputs,
        translator=translator,
        deltas=deltas,
        augmented=pair.model,
        **shared_arguments,
    )
    builder.add_node(
        WalkEvaluator,
        f"WalkEvaluator.{handle.name}",
        **handle.inputs,
        walk=handle.arguments.build_delta_gen_kwargs()["walk"],
        walked_with=["true", "predicted"],
        **shared_arguments,
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
    _add_other_labels(builder, handle, shuffled, "permuted_labels")
    _add_other_labels(builder, handle, predicted, "predicted_labels")
    templates = builder.add_node(
        TemplateDeltaGen, f"TemplateDeltaGen.{handle.name}", examples=handle.examples, deltas=deltas
    ).outputs["templates"]
    _add_control_pair(builder, handle, templates, "class_template")


def _add_translator_relation(
    builder: ExperimentBuilder, handle: NetworkHandle, translator: Channel, deltas: Channel
) -> None:
    """Asks for the relation of a translator's loss for the first image."""
    row_parameters = handle.arguments.build_combiner_kwargs()["row_parameters"]
    for domain in UNCERTAINTY_DOMAINS:
        domain_label = domain.replace(":", "-")
        builder.add_node(
            TranslatorAnalyzer,
            f"TranslatorAnalyzer.{domain_label}.{handle.name}",
            **handle.inputs,
            translator=translator,
            deltas=deltas,
            domain=domain,
            image=0,
            sizes=dict(builder.scale.uncertainty),
            seed=handle.seed,
            row_parameters=row_parameters,
        )


def _add_other_labels(
    builder: ExperimentBuilder, handle: NetworkHandle, examples: Channel, control: str
) -> None:
    """Walks with other labels, and measures with the true ones."""
    relabelled_handle = dataclasses.replace(handle, examples=examples)
    _add_control_pair(
        builder, handle, builder.add_deltas(relabelled_handle, control).outputs["deltas"], control
    )


def _add_control_pair(
    builder: ExperimentBuilder, handle: NetworkHandle, deltas: Channel, control: str, **changes: int
) -> None:
    """Teaches a translator other deltas, and attacks the pair."""
    translator_node = builder.add_translator(handle, deltas, control, **changes)
    translator_channel = translator_node.outputs["translator"]
    row_parameters = {f"translator_{key}": value for key, value in changes.items()}
    pair = builder.add_augmented_classifier(
        handle, translator_channel, control, control=control, **row_parameters
    )
    builder.add_evaluation(pair)
    _add_translator_errors(
        builder, handle, translator_channel, deltas, control=control, **row_parameters
    )


def _add_translator_errors(
    builder: ExperimentBuilder,
    handle: NetworkHandle,
    translator: Channel,
    deltas: Channel,
    **row_parameters: Any,
) -> None:
    """Asks how much of Delta a translator gives."""
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


def _add_plain_unet(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Trains a classifier of the translator's network."""
    # Its width 1 has the channels of a translator of width 16.
    width = handle.arguments.config.translator.width / 16
    network = NetworkPreset(
        handle.network.dataset, "unet_classifier", "U-Net as classifier", {"width": width}, True
    )
    unet_handle = builder.add_classifier(
        network, max(1, handle.arguments.config.translator.epochs), handle.seed
    )
    builder.add_evaluation(unet_handle)
    builder.add_strong_attacks(unet_handle)


def _add_translator_variants(builder: ExperimentBuilder, handle: NetworkHandle) -> None:
    """Teaches one step instead of N, and translators of other widths."""
    walk_options = handle.arguments.build_delta_gen_kwargs()["walk"]
    total_step_size = walk_options["num_steps"] * walk_options["step_size"]
    delta_1_node = builder.add_deltas(handle, "delta_1", num_steps=1, step_size=total_step_size)
    _add_control_pair(builder, handle, delta_1_node.outputs["deltas"], "delta_1")
    for width in builder.scale.widths:
        if width != handle.arguments.config.translator.width:
            deltas = builder.add_deltas(handle).outputs["deltas"]
            _add_control_pair(builder, handle, deltas, f"width_{width}", width=width)
