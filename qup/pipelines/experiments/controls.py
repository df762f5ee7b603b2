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
from collections.abc import Iterable
from typing import Any

from qup.adversarial_training import METHODS
from qup.components.implied_class_meter import ImpliedClassMeter
from qup.components.label_predictor import LabelPredictor
from qup.components.label_shuffler import LabelShuffler
from qup.components.template_delta_gen import TemplateDeltaGen
from qup.components.transfer_analyzer import TransferAnalyzer
from qup.components.translator_analyzer import TranslatorAnalyzer
from qup.components.translator_meter import TranslatorMeter
from qup.components.walk_evaluator import WalkEvaluator
from qup.orchestration import Channel
from qup.pipelines import experiments, robustly, settings
from qup.pipelines.experiments import predictors, uncertainty
from qup.pipelines.lab import Lab, Trained
from qup.scales import Network

TEMPERATURES = (0.25, 4.0)


@experiments.register(order=60)
def controls(lab: Lab, seeds: Iterable[int]) -> None:
    """Asks for every control."""
    table = lab.scale.tables["table2"]
    network, epochs = table.networks[0], table.epochs[0]
    if not lab.wanted(network, epochs):
        return
    for seed in seeds:
        trained = lab.classifier(network, epochs, seed)
        lab.attacked(trained)
        lab.strongly(trained)
        _temperatures(lab, trained)
        _leaks(lab, trained)
        predictors.measured(lab, trained)
        for method in METHODS:
            for number in lab.scale.robust_epochs:
                robust = robustly.trained(lab, network, number, seed, method)
                lab.attacked(robust)
                lab.strongly(robust)
                predictors.measured(lab, robust)
        _sizes(lab, trained)
        # The strong attacks on a U-Net take the longest of all.
        _plain(lab, trained)


def _temperatures(lab: Lab, of: Trained) -> None:
    for heat in TEMPERATURES:
        uncertainty.tempered(lab, of, heat)
    # sigma_p moves with the temperature, and TA does not.
    for heat in (1.0, *TEMPERATURES):
        uncertainty.measured(lab, of, "box", heat)


def _leaks(lab: Lab, of: Trained) -> None:
    """Asks whose knowledge the pair's accuracies are."""
    walk = lab.walk(of)
    deltas = walk.outputs["deltas"]
    translator = lab.translator(of, deltas).outputs["translator"]
    pair = lab.augmented(of, translator)
    lab.attacked(pair)
    _metered(lab, of, translator, deltas)
    _own_relation(lab, of, translator, deltas)
    alone = lab.augmented(of, translator, "classifier", through="classifier")
    lab.attacked(alone)
    attack = settings.attack(of.given.config)
    common = {"attack": attack, "num_images": None, "seed": of.seed}
    lab.node(
        TransferAnalyzer, f"TransferAnalyzer.{of.name}", **of.images,
        augmented=pair.model, **common,
    )  # fmt: skip
    lab.node(
        ImpliedClassMeter, f"ImpliedClassMeter.{of.name}", **of.images,
        translator=translator, deltas=deltas, augmented=pair.model, **common,
    )  # fmt: skip
    lab.node(
        WalkEvaluator, f"WalkEvaluator.{of.name}", **of.images,
        walk=of.given.walk()["walk"], walked_with=["true", "predicted"],
        **common,
    )  # fmt: skip
    shuffled = lab.node(
        LabelShuffler, f"LabelShuffler.{of.network.dataset}.seed-{of.seed}",
        examples=of.examples, seed=of.seed,
    ).outputs["shuffled"]  # fmt: skip
    predicted = lab.node(
        LabelPredictor, f"LabelPredictor.{of.name}", **of.images
    ).outputs["predicted"]
    _other_labels(lab, of, shuffled, "permuted_labels")
    _other_labels(lab, of, predicted, "predicted_labels")
    templates = lab.node(
        TemplateDeltaGen, f"TemplateDeltaGen.{of.name}",
        examples=of.examples, deltas=deltas,
    ).outputs["templates"]  # fmt: skip
    _pair(lab, of, templates, "class_template")


def _own_relation(
    lab: Lab, of: Trained, translator: Channel, deltas: Channel
) -> None:
    """Asks for the relation of a translator's loss for the first image."""
    given = of.given.combination()["row_parameters"]
    for domain in uncertainty.DOMAINS:
        place = domain.replace(":", "-")
        lab.node(
            TranslatorAnalyzer, f"TranslatorAnalyzer.{place}.{of.name}",
            **of.images, translator=translator, deltas=deltas, domain=domain,
            image=0, sizes=dict(lab.scale.uncertainty), seed=of.seed,
            row_parameters=given,
        )  # fmt: skip


def _other_labels(
    lab: Lab, of: Trained, examples: Channel, control: str
) -> None:
    """Walks with other labels, and measures with the true ones."""
    walked = dataclasses.replace(of, examples=examples)
    _pair(lab, of, lab.walk(walked, control).outputs["deltas"], control)


def _pair(
    lab: Lab, of: Trained, deltas: Channel, control: str, **changes: int
) -> None:
    """Teaches a translator other deltas, and attacks the pair."""
    translator = lab.translator(of, deltas, control, **changes)
    channel = translator.outputs["translator"]
    rows = {f"translator_{key}": value for key, value in changes.items()}
    pair = lab.augmented(of, channel, control, control=control, **rows)
    lab.attacked(pair)
    _metered(lab, of, channel, deltas, control=control, **rows)


def _metered(
    lab: Lab, of: Trained, translator: Channel, deltas: Channel, **rows: Any
) -> None:
    """Asks how much of Delta a translator gives."""
    given = of.given.combination()["row_parameters"]
    names = (rows.get("control"), of.name)
    lab.node(
        TranslatorMeter, ".".join(("TranslatorMeter", *filter(None, names))),
        **of.images, translator=translator, deltas=deltas,
        row_parameters={**given, **rows},
    )  # fmt: skip


def _plain(lab: Lab, of: Trained) -> None:
    """Trains a classifier of the translator's network."""
    # Its width 1 has the channels of a translator of width 16.
    width = of.given.config.translator.width / 16
    network = Network(
        of.network.dataset, "unet_classifier", "U-Net as classifier",
        {"width": width}, True,
    )  # fmt: skip
    plain = lab.classifier(
        network, max(1, of.given.config.translator.epochs), of.seed
    )
    lab.attacked(plain)
    lab.strongly(plain)


def _sizes(lab: Lab, of: Trained) -> None:
    """Teaches one step instead of N, and translators of other widths."""
    walk = of.given.walk()["walk"]
    far = walk["num_steps"] * walk["step_size"]
    one = lab.walk(of, "delta_1", num_steps=1, step_size=far)
    _pair(lab, of, one.outputs["deltas"], "delta_1")
    for width in lab.scale.widths:
        if width != of.given.config.translator.width:
            deltas = lab.walk(of).outputs["deltas"]
            _pair(lab, of, deltas, f"width_{width}", width=width)
