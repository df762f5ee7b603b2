"""The attacks of all libraries, called as in their documentation.

Each function returns an attack without arguments that returns a NumPy array. A library is imported
only when one of its attacks is built.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.attacks.networks import AttackedNetwork
from qup import attacks

Run = Callable[[], np.ndarray]
# The batch size of `attacks.run`.
_BATCH = 128


def build_qup(
    name: str, steps_option: str | None = "num_steps", **options
) -> Callable[[AttackedNetwork, int], Run]:
    """Returns a function that builds an attack of qup, by `attacks.run`.

    Args:
      name: The name of the attack.
      steps_option: The option for the number of steps, or None.
      **options: The options of `attacks.run` and of the attack.
    """

    def build(network: AttackedNetwork, steps: int) -> Run:
        arguments = network.model, network.images, network.labels
        all_options = {"batch_size": min(len(network.labels), _BATCH)} | options
        all_options |= {steps_option: steps} if steps_option else {}
        return lambda: attacks.run(name, *arguments, **all_options).images

    return build


def build_cleverhans_pgd(network: AttackedNetwork, steps: int) -> Run:
    """Returns cleverhans' projected_gradient_descent."""
    from cleverhans.tf2.attacks import projected_gradient_descent as module

    images, labels = tf.constant(network.images), tf.constant(network.labels)
    return lambda: module.projected_gradient_descent(
        network.model,
        images,
        network.epsilon,
        network.epsilon / steps,
        steps,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=labels,
        rand_init=False,
    ).numpy()


def _build_foolbox(network: AttackedNetwork, attack, epsilon: float | None) -> Run:
    import foolbox

    model = foolbox.TensorFlowModel(network.model, bounds=(0, 1))
    images, labels = tf.constant(network.images), tf.constant(network.labels)

    def work() -> np.ndarray:
        _, clipped, _ = attack(model, images, labels, epsilons=epsilon)
        return clipped.numpy()

    return work


def build_foolbox_pgd(network: AttackedNetwork, steps: int) -> Run:
    """Returns foolbox's LinfPGD."""
    from foolbox import attacks as foolbox_attacks

    attack = foolbox_attacks.LinfPGD(
        abs_stepsize=network.epsilon / steps, steps=steps, random_start=False
    )
    return _build_foolbox(network, attack, network.epsilon)


def build_foolbox_deepfool(network: AttackedNetwork, steps: int) -> Run:
    """Returns foolbox's L2DeepFoolAttack."""
    from foolbox import attacks as foolbox_attacks

    return _build_foolbox(network, foolbox_attacks.L2DeepFoolAttack(steps=steps), None)


def build_foolbox_carlini_wagner(network: AttackedNetwork, steps: int) -> Run:
    """Returns foolbox's L2CarliniWagnerAttack, 9 constants."""
    from foolbox import attacks as foolbox_attacks

    attack = foolbox_attacks.L2CarliniWagnerAttack(
        binary_search_steps=9, steps=steps, stepsize=1e-2, initial_const=1e-3
    )
    return _build_foolbox(network, attack, None)


def _build_art_classifier(network: AttackedNetwork):
    """Returns ART's classifier around the Keras model."""
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        network.model,
        nb_classes=network.model.output_shape[-1],
        input_shape=network.images.shape[1:],
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )


def _build_art(network: AttackedNetwork, attack, labels: np.ndarray) -> Run:
    """Returns an attack of ART, which needs one-hot labels."""
    labels = np.eye(network.model.output_shape[-1])[labels]
    return lambda: attack.generate(x=network.images, y=labels)


def build_art_pgd(network: AttackedNetwork, steps: int) -> Run:
    """Returns ART's ProjectedGradientDescent."""
    from art.attacks import evasion

    attack = evasion.ProjectedGradientDescent(
        _build_art_classifier(network),
        eps=network.epsilon,
        eps_step=network.epsilon / steps,
        max_iter=steps,
        batch_size=len(network.labels),
        verbose=False,
    )
    return _build_art(network, attack, network.labels)


def build_art_deepfool(network: AttackedNetwork, steps: int) -> Run:
    """Returns ART's DeepFool, with the overshoot of the others."""
    from art.attacks import evasion

    attack = evasion.DeepFool(
        _build_art_classifier(network),
        max_iter=steps,
        epsilon=0.02,
        batch_size=len(network.labels),
        verbose=False,
    )
    return _build_art(network, attack, network.labels)


def build_art_carlini_wagner(network: AttackedNetwork, steps: int) -> Run:
    """Returns ART's CarliniL2Method, 9 constants."""
    from art.attacks import evasion

    attack = evasion.CarliniL2Method(
        _build_art_classifier(network),
        binary_search_steps=9,
        max_iter=steps,
        learning_rate=1e-2,
        initial_const=1e-3,
        batch_size=len(network.labels),
        verbose=False,
    )
    return _build_art(network, attack, network.labels)


def build_art_jsma(network: AttackedNetwork, _: int) -> Run:
    """Returns ART's SaliencyMapMethod with the network's targets."""
    from art.attacks import evasion

    attack = evasion.SaliencyMapMethod(
        _build_art_classifier(network),
        theta=1.0,
        gamma=0.145,
        batch_size=len(network.labels),
        verbose=False,
    )
    return _build_art(network, attack, network.targets)


def build_art_one_pixel(network: AttackedNetwork, generations: int) -> Run:
    """Returns ART's PixelAttack: differential evolution, 400 candidates."""
    from art.attacks import evasion

    attack = evasion.PixelAttack(_build_art_classifier(network), th=1, es=1, max_iter=generations)
    return _build_art(network, attack, network.labels)
