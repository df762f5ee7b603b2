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
from typing import Any

from absl import flags

from qup.cli import main, program
from qup.core import errors

# That of qup.pipelines.run, whose import starts TensorFlow.
_PARTS_FILE = "parts.json"


def define_flags() -> None:
    """Defines the flags."""
    flags.DEFINE_string(
        "command", None, "Which command to complete, if a workdir has the parts of several."
    )
    flags.DEFINE_bool("dry_run", False, "Print the command that completes the parts, and end.")


def run() -> None:
    """Runs the command of the parts."""
    with program.exit_on_error():
        paths = flags.FLAGS(sys.argv)[1:]
        if len(paths) != 1:
            raise flags.Error(
                f"Expected one folder, the workdir of the parts; received {len(paths)}. See --help."
            )
        workdir = pathlib.Path(paths[0]).absolute()
        record = _choose_record(workdir, flags.FLAGS.command)
        arguments = shlex.split(record["command"])
        name = _find_command(arguments)
        # The folder may have another name now.
        arguments = [*arguments[_count_program_words(arguments) :], f"--workdir={workdir}"]
        if flags.FLAGS.dry_run:
            program.print_text(f"cd {shlex.quote(record['folder'])}")
            program.print_text(f"qup {name} {shlex.join(arguments)}")
            return
        os.chdir(record["folder"])
        for variable, value in record["environment"].items():
            os.environ.setdefault(variable, value)
    # The command may have flags of these names.
    flags.FLAGS.remove_flag_values(["command", "dry_run"])
    sys.argv = [f"qup {name}", *arguments]
    main.start(name)


def _choose_record(workdir: pathlib.Path, command: str | None) -> dict[str, Any]:
    """Returns what the parts of one command have recorded in their workdir.

    Raises:
      InputError: There are no parts, or those of several commands.
    """
    records = _read_records(workdir)
    chosen = [record for record in records if command in (None, record["command"])]
    if len(chosen) == 1:
        return chosen[0]
    listed = "; ".join(shlex.quote(record["command"]) for record in records)
    raise errors.InputError(
        f"{workdir} has the parts of {len(records)} commands. Choose one by --command=...: {listed}"
    )


def _read_records(workdir: pathlib.Path) -> list[dict[str, Any]]:
    path = workdir / _PARTS_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise errors.InputError(
            f"{workdir} has no {_PARTS_FILE}: nothing was computed in parts there. Name the "
            "workdir of a command with --part."
        ) from error
    except ValueError as error:
        raise _make_damaged_error(path) from error
    records = content.get("commands") if isinstance(content, dict) else None
    if not records or not isinstance(records, list) or not all(map(_is_record, records)):
        raise _make_damaged_error(path)
    return records


def _is_record(record: Any) -> bool:
    return (
        isinstance(record, dict)
        and all(isinstance(record.get(key), str) and record[key] for key in ("command", "folder"))
        and isinstance(record.get("environment"), dict)
    )


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
