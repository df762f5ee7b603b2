r"""Completes work that several processes have computed in parts, and writes its results.

    qup attack --dataset=mnist --attack=autoattack --workdir=/shared/aa --part=1/40
    qup merge /shared/aa

It is the command of the parts without --part, in the folder where they were
started: what a part has not computed, because it was killed or never started,
is computed now.
"""

import json
import os
import pathlib
import shlex
import sys

from absl import flags

from qup.cli import main, program
from qup.core import errors

# That of qup.pipelines.run, whose import starts TensorFlow.
_PARTS_FILE = "parts.json"


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_bool("dry_run", False, "Print the command that completes the parts, and end.")


def run() -> None:
    """Runs the command of the parts."""
    with program.exit_on_error():
        paths = flags.FLAGS(sys.argv)[1:]
        if len(paths) != 1:
            raise flags.Error(
                f"Expected one folder, the workdir of the parts; received {len(paths)}. See --help."
            )
        record = _read_record(pathlib.Path(paths[0]))
        arguments = shlex.split(record["command"])
        name = _find_command(arguments)
        if flags.FLAGS.dry_run:
            program.print_text(f"cd {shlex.quote(record['folder'])} && {record['command']}")
            return
        os.chdir(record["folder"])
    # The command defines its own flag of this name.
    flags.FLAGS.remove_flag_values(["dry_run"])
    sys.argv = [f"qup {name}", *arguments[_count_program_words(arguments) :]]
    main.start(name)


def _read_record(workdir: pathlib.Path) -> dict[str, str]:
    """Returns what the parts have recorded in their workdir."""
    path = workdir / _PARTS_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise errors.InputError(
            f"{workdir} has no {_PARTS_FILE}: nothing was computed in parts there. Name the "
            "workdir of a command with --part."
        ) from error
    except ValueError as error:
        raise _make_damaged_error(path) from error
    if not isinstance(record, dict) or not all(record.get(k) for k in ("command", "folder")):
        raise _make_damaged_error(path)
    return record


def _make_damaged_error(path: pathlib.Path) -> errors.InputError:
    return errors.InputError(
        f"{path} is damaged. Run the command of the parts again, without --part and with "
        "--fixed_batch if it attacks."
    )


def _count_program_words(arguments: list[str]) -> int:
    """Returns the number of words of "qup attack" or of "python -m bin.run_attack"."""
    return 2 if arguments[0] == "qup" else 3


def _find_command(arguments: list[str]) -> str:
    words = arguments[: _count_program_words(arguments)]
    for name, (file, *_) in main.COMMANDS.items():
        if words in (["qup", name], ["python", "-m", f"bin.{file}"]):
            return name
    raise errors.InputError(f"The parts ran an unknown command: {' '.join(words)}.")
