r"""Measures the uncertainty relation of a classifier, with standard errors.

Both sides of sigma_x sigma_p >= 1/2 |1 - B|, the paper's Eqs. 14 and 19 with
the missing boundary term B, and the test and robust accuracy; also of
control networks. docs/uncertainty.md explains the numbers.

    qup uncertainty --dataset=mnist --epochs=1,10,50
    qup uncertainty --dataset=mnist --domain=box --labels=0,3 \
        --directions=pca:10,sign_gradient,pixel:350

The classifier of the workdir is reused, or trained. A model of --model_path
is a program: load only models that you trust. The L1 loss of a translator is
measured by `qup reproduce --experiments=controls`, and in Python by
qup.uncertainty.of_translator.

Further settings: --config.group.key=value; --help lists all.
"""

from absl import flags

from qup.cli import engines, settings
from qup.core.interruption import SignalGuard


def define_flags() -> None:
    """Defines the flags of the settings and of the measurement."""
    settings.define_flags()
    flags.adopt_module_key_flags(settings)
    engines.define_flags(engines.PART_ENGINES)
    flags.adopt_module_key_flags(engines)
    flags.DEFINE_string("packet", "loss", "psi: loss (the paper's), sqrt_prob or prob.")
    flags.DEFINE_string("domain", "window:0.1", "box, sine, or window:S, a Gaussian of width S.")
    flags.DEFINE_string(
        "centre",
        "mean",
        "Centre of the window: mean, of the label's training images, "
        "or image:N, test image number N.",
    )
    flags.DEFINE_string(
        "estimator",
        None,
        "importance, mcmc, or both with a comparison; default: both, in a smoke test importance.",
    )
    flags.DEFINE_list("labels", ["0"], "Labels Y of packets, or all.")
    flags.DEFINE_list(
        "directions",
        [],
        "In addition to all pixels: pca:K, principal axes of the label's training "
        "images; random:K; sign_gradient, at the centre; file:FILE.npy; pixel:I, "
        "a row for this pixel.",
    )
    flags.DEFINE_integer("num_samples", None, "Samples of importance sampling; default: 20,000.")
    flags.DEFINE_integer("num_chains", None, "Chains of MCMC; default: 32.")
    flags.DEFINE_integer("num_steps", None, "Steps of each chain; default: 1000.")
    flags.DEFINE_bool(
        "controls",
        True,
        "Also measure an untrained network, a constant network, a network trained "
        "on random labels, and the network at other temperatures and widths.",
    )
    flags.DEFINE_list("temperatures", ["0.25", "4"], "Divide the logits by these, as a control.")
    flags.DEFINE_bool("stability", True, "Also measure half and twice the window's width.")
    flags.DEFINE_list("model_path", [], "Further networks, .keras or whole .h5 files.")
    flags.DEFINE_string(
        "pixel_range", None, "Pixels that the further networks take: 0,255 or -1,1; default: 0,1."
    )
    flags.DEFINE_integer("num_images", 1000, "Number of test images for TA and RA; 0 for all.")


def main(config) -> str:
    """Runs with the settings `config`; returns the summary."""
    with SignalGuard():
        from qup.pipelines import uncertainty

    values = flags.FLAGS
    request = uncertainty.UncertaintyRequest(
        packet=values.packet,
        domain=values.domain,
        centre=values.centre,
        estimator=values.estimator,
        labels=tuple(values.labels),
        directions=tuple(values.directions),
        num_samples=values.num_samples,
        num_chains=values.num_chains,
        num_steps=values.num_steps,
        controls=values.controls,
        temperatures=tuple(values.temperatures),
        stability=values.stability,
        model_paths=tuple(values.model_path),
        pixel_range=values.pixel_range,
        num_images=values.num_images,
        smoke=values.smoke,
    )
    return uncertainty.run(config, request, engines.resolve())


def run() -> None:
    """Runs the command."""
    settings.run(main)
