"""Measures the uncertainty relation of a classifier, with error bars.

Both sides of sigma_x sigma_p >= 1/2 |1 - B|, the paper's Eqs. 14 and 19 with
the boundary term B that they leave out, beside test and robust accuracy; and
the same of networks to compare with. docs/uncertainty.md says what the
numbers mean.

    python -m bin.run_uncertainty --dataset=mnist --epochs=1,10,50
    python -m bin.run_uncertainty --dataset=mnist --domain=box --labels=0,3 \
        --directions=pca:10,sign_gradient,pixel:350

The classifier is the one that the workdir holds, or is trained. A model of
--model_path is a program: load only one that you trust. A translator's own
L1 loss is measured by `bin.reproduce --experiments=controls`, and in Python by
qup.uncertainty.of_translator.

Further settings: --config.group.key=value; configs/defaults.py tells all.
"""

from absl import flags

from bin import command_line, starting
from qup.core.interruption import SignalGuard

command_line.define_flags()
flags.adopt_module_key_flags(command_line)
_PACKET = flags.DEFINE_string("packet", "loss", "psi: loss (the paper's), sqrt_prob or prob.")
_DOMAIN = flags.DEFINE_string(
    "domain", "window:0.1", "box, sine, or window:S, a Gaussian of width S."
)
_CENTRE = flags.DEFINE_string(
    "centre",
    "mean",
    "Of the window: mean, of the label's training images, "
    "or image:N, the test image of that number.",
)
_ESTIMATOR = flags.DEFINE_string(
    "estimator",
    None,
    "importance, mcmc, or both, which are then compared; "
    "default: both, of a smoke test importance.",
)
_LABELS = flags.DEFINE_list("labels", ["0"], "Labels Y of packets, or all.")
_DIRECTIONS = flags.DEFINE_list(
    "directions",
    [],
    "Beside all pixels: pca:K, of the label's training "
    "images; random:K; sign_gradient, at the centre; file:FILE.npy; pixel:I, "
    "to tell one pixel by itself.",
)
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", None, "Of importance sampling; default: 20,000.")
_NUM_CHAINS = flags.DEFINE_integer("num_chains", None, "Of MCMC; default: 32.")
_NUM_STEPS = flags.DEFINE_integer("num_steps", None, "Of each chain; default: 1000.")
_CONTROLS = flags.DEFINE_bool(
    "controls",
    True,
    "Measure an untrained network, a constant one, one of "
    "random labels, and the network at other temperatures and widths.",
)
_TEMPERATURES = flags.DEFINE_list(
    "temperatures", ["0.25", "4"], "By which logits are divided, as a control."
)
_STABILITY = flags.DEFINE_bool("stability", True, "Measure half and twice the window's width, too.")
_MODEL_PATH = flags.DEFINE_list(
    "model_path", [], "Further networks, .keras files: adversarially trained."
)
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 1000, "TA and RA are of that many test images; 0 for all."
)


def main(config) -> str:
    """Measures with the settings `config`; returns table and findings."""
    with SignalGuard():
        from qup.pipelines import uncertainty

    request = uncertainty.UncertaintyRequest(
        packet=_PACKET.value,
        domain=_DOMAIN.value,
        centre=_CENTRE.value,
        estimator=_ESTIMATOR.value,
        labels=tuple(_LABELS.value),
        directions=tuple(_DIRECTIONS.value),
        num_samples=_NUM_SAMPLES.value,
        num_chains=_NUM_CHAINS.value,
        num_steps=_NUM_STEPS.value,
        controls=_CONTROLS.value,
        temperatures=tuple(_TEMPERATURES.value),
        stability=_STABILITY.value,
        model_paths=tuple(_MODEL_PATH.value),
        num_images=_NUM_IMAGES.value,
        smoke=flags.FLAGS.smoke,
    )
    return uncertainty.run(config, request)


if __name__ == "__main__":
    starting.run(main)
