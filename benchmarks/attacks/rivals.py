"""The attacks of all libraries, called as their documentation does.

Every function returns an attack without arguments that ends with a NumPy
array. A library is imported when it is asked for.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from benchmarks.attacks.networks import Subject
from qup import attacks

Work = Callable[[], np.ndarray]
# Rows that `attacks.run` takes at a time, where there are as many.
_BATCH = 128


def ours(name: str, counter: str | None = "num_steps", **options) -> Callable[[Subject, int], Work]:
    """Returns what makes ours, by `attacks.run`.

    Args:
      name: Of the attack.
      counter: The option that is the number of steps, if one is.
      **options: Of `attacks.run` and the attack.
    """

    def build(subject: Subject, steps: int) -> Work:
        given = subject.model, subject.images, subject.labels
        own = {"batch_size": min(len(subject.labels), _BATCH)} | options
        own |= {counter: steps} if counter else {}
        return lambda: attacks.run(name, *given, **own).images

    return build


def cleverhans_pgd(subject: Subject, steps: int) -> Work:
    """Returns cleverhans's projected_gradient_descent."""
    from cleverhans.tf2.attacks import projected_gradient_descent as module

    images, labels = tf.constant(subject.images), tf.constant(subject.labels)
    return lambda: module.projected_gradient_descent(
        subject.model,
        images,
        subject.epsilon,
        subject.epsilon / steps,
        steps,
        np.inf,
        clip_min=0.0,
        clip_max=1.0,
        y=labels,
        rand_init=False,
    ).numpy()


def _foolbox(subject: Subject, attack, epsilon: float | None) -> Work:
    import foolbox

    model = foolbox.TensorFlowModel(subject.model, bounds=(0, 1))
    images, labels = tf.constant(subject.images), tf.constant(subject.labels)

    def work() -> np.ndarray:
        _, clipped, _ = attack(model, images, labels, epsilons=epsilon)
        return clipped.numpy()

    return work


def foolbox_pgd(subject: Subject, steps: int) -> Work:
    """Returns foolbox's LinfPGD."""
    from foolbox import attacks as theirs

    attack = theirs.LinfPGD(abs_stepsize=subject.epsilon / steps, steps=steps, random_start=False)
    return _foolbox(subject, attack, subject.epsilon)


def foolbox_deepfool(subject: Subject, steps: int) -> Work:
    """Returns foolbox's L2DeepFoolAttack."""
    from foolbox import attacks as theirs

    return _foolbox(subject, theirs.L2DeepFoolAttack(steps=steps), None)


def foolbox_carlini_wagner(subject: Subject, steps: int) -> Work:
    """Returns foolbox's L2CarliniWagnerAttack, 9 constants."""
    from foolbox import attacks as theirs

    attack = theirs.L2CarliniWagnerAttack(
        binary_search_steps=9, steps=steps, stepsize=1e-2, initial_const=1e-3
    )
    return _foolbox(subject, attack, None)


def _art(subject: Subject):
    """Returns ART's classifier around the Keras model."""
    from art.estimators.classification import TensorFlowV2Classifier

    return TensorFlowV2Classifier(
        subject.model,
        nb_classes=subject.model.output_shape[-1],
        input_shape=subject.images.shape[1:],
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0, 1),
    )


def _generated(subject: Subject, attack, labels: np.ndarray) -> Work:
    """Labels go one-hot."""
    labels = np.eye(subject.model.output_shape[-1])[labels]
    return lambda: attack.generate(x=subject.images, y=labels)


def art_pgd(subject: Subject, steps: int) -> Work:
    """Returns ART's ProjectedGradientDescent."""
    from art.attacks import evasion

    attack = evasion.ProjectedGradientDescent(
        _art(subject),
        eps=subject.epsilon,
        eps_step=subject.epsilon / steps,
        max_iter=steps,
        batch_size=len(subject.labels),
        verbose=False,
    )
    return _generated(subject, attack, subject.labels)


def art_deepfool(subject: Subject, steps: int) -> Work:
    """Returns ART's DeepFool, with the overshoot of the others."""
    from art.attacks import evasion

    attack = evasion.DeepFool(
        _art(subject), max_iter=steps, epsilon=0.02, batch_size=len(subject.labels), verbose=False
    )
    return _generated(subject, attack, subject.labels)


def art_carlini_wagner(subject: Subject, steps: int) -> Work:
    """Returns ART's CarliniL2Method, 9 constants."""
    from art.attacks import evasion

    attack = evasion.CarliniL2Method(
        _art(subject),
        binary_search_steps=9,
        max_iter=steps,
        learning_rate=1e-2,
        initial_const=1e-3,
        batch_size=len(subject.labels),
        verbose=False,
    )
    return _generated(subject, attack, subject.labels)


def art_jsma(subject: Subject, _: int) -> Work:
    """Returns ART's SaliencyMapMethod, towards the subject's targets."""
    from art.attacks import evasion

    attack = evasion.SaliencyMapMethod(
        _art(subject), theta=1.0, gamma=0.145, batch_size=len(subject.labels), verbose=False
    )
    return _generated(subject, attack, subject.targets)


def art_one_pixel(subject: Subject, generations: int) -> Work:
    """Returns ART's PixelAttack: differential evolution, 400 candidates."""
    from art.attacks import evasion

    attack = evasion.PixelAttack(_art(subject), th=1, es=1, max_iter=generations)
    return _generated(subject, attack, subject.labels)
