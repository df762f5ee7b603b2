"""The console script `qup`: chooses a command and starts it.

    qup ifa --dataset=mnist --epochs=1,30,50
    qup attack --help
    qup --version

From a checkout, `python -m bin.run_ifa` starts the same code as `qup ifa`.
"""

import importlib
import sys

from absl import flags

import qup
from qup.cli import usage
from qup.core import errors, extras

# Command -> the file of bin/ that starts it in a checkout, the extra of
# setup.py that it needs, and its line in `qup --help`.
COMMANDS = {
    "attack": ("run_attack", "pipelines", "Attack a classifier; one result per image."),
    "train": ("train", "pipelines", "Train a classifier, standard or adversarially."),
    "train-worker": ("train_worker", "pipelines", "Train a classifier by several processes."),
    "ifa": ("run_ifa", "pipelines", "Iterative FGSM Augmentation, from images to a table."),
    "uncertainty": (
        "run_uncertainty",
        "pipelines,uncertainty",
        "Measure the uncertainty relation.",
    ),
    "reproduce": ("reproduce", "reproduction", "Reproduce the paper's tables and figures."),
    "report": ("report", "reproduction", "Write a reproduction's report again."),
    "publish": ("publish", "reproduction", "Copy a reproduction's results to a folder."),
    "toy": ("run_binary_toy", "reproduction", "Plot the paper's Fig. 2 with small networks."),
    "serve-check": (
        "serve_check",
        "pipelines",
        "Compare exported classifiers in other runtimes with Keras.",
    ),
    "merge": ("merge", "pipelines", "Complete what was computed in parts, and write the results."),
    "runs": ("list_runs", "pipelines", "List the runs of pipelines."),
    "prune": ("prune", "pipelines", "Remove artifacts that no kept run needs."),
    "lineage": ("show_lineage", "pipelines", "Show how a file was computed."),
}


def main() -> None:
    """Runs `qup COMMAND [flags]`."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in COMMANDS:
        sys.argv = [f"qup {name}", *rest]
        start(name)
    elif name in ("--help", "-h", "-help", "help"):
        print(_format_help())
    elif name in ("--version", "-version"):
        print(f"qup {qup.__version__}")
    else:
        error = errors.make_unknown_error("command", name, COMMANDS)
        sys.exit(f"Error: {error} See qup --help.")


def run_from_checkout(name: str) -> None:
    """Runs a command as `python -m bin.FILE [flags]`."""
    start(name, f"python -m bin.{COMMANDS[name][0]}")


def start(name: str, program: str = "") -> None:
    """Imports the module of a command and runs it as the main program.

    The settings of a command are flags as well, but they are defined when the
    command line is parsed: --help is written here.

    Args:
      name: The command.
      program: How the user called it, for the examples of --help; default:
        "qup NAME".
    """
    try:
        with extras.explain_missing(f"qup {name}", COMMANDS[name][1]):
            module = importlib.import_module(f"qup.cli.{name.replace('-', '_')}")
            help_text = module.__doc__
            if program:
                # Longer names first, because one command begins with another.
                for command in sorted(COMMANDS, key=len, reverse=True):
                    file = COMMANDS[command][0]
                    help_text = help_text.replace(f"qup {command}", f"python -m bin.{file}")
            sys.modules["__main__"].__doc__ = help_text
            module.define_flags()
            for flag in flags.FLAGS.get_key_flags_for_module(module):
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
            if usage.is_help_request(sys.argv[1:]):
                from qup.cli import program as runner

                runner.print_text(usage.format_help(help_text, module, sys.argv[1:]))
                return
            module.run()
    except extras.MissingExtraError as error:
        sys.exit(f"Error: {error}")


def _format_help() -> str:
    width = max(map(len, COMMANDS))
    return "\n".join(
        [
            "Usage: qup COMMAND [flags]",
            "",
            *(f"  {name:{width}}  {text}" for name, (_, _, text) in COMMANDS.items()),
            "",
            "qup COMMAND --help lists the flags of a command; qup --version prints the version.",
        ]
    )
