"""The text of --help: what a command does, its flags, its settings, and all defaults."""

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from qup.core import config as nested_config

# Flags that ask for the text.
HELP_FLAGS = ("-h", "-help", "--help", "-helpshort", "--helpshort", "-helpfull", "--helpfull")
_WIDTH = 80
_KINDS = {
    flags.ListParser: "a comma separated list",
    flags.IntegerParser: "an integer",
    flags.FloatParser: "a number",
}


def is_help_request(arguments: Sequence[str]) -> bool:
    """Returns whether the arguments of a command ask for its help."""
    words = list(arguments)
    return any(word in HELP_FLAGS for word in words[: words.index("--") if "--" in words else None])


def format_help(documentation: str, module: Any, arguments: Sequence[str]) -> str:
    """Returns the help of a command, in lines of at most 80 columns.

    Args:
      documentation: What the command does, with examples; lines stay as they are.
      module: The module of the command; its flags are defined. USED_SETTINGS, if it has that, are
        the settings and groups of settings that it uses, and the only ones that are listed.
      arguments: The command line. The settings that are shown are those of its --dataset.
    """
    key_flags = sorted(flags.FLAGS.get_key_flags_for_module(module), key=lambda flag: flag.name)
    values, aliases, dataset = _load_defaults(key_flags, arguments)
    lines = [documentation.strip(), "", "Flags:", ""]
    for flag in key_flags:
        lines += _format_flag(flag, aliases.get(flag.name), values)
    if values:
        title = f"Settings, with the defaults of --dataset={dataset}; a short flag sets the same:"
        lines += ["", *textwrap.wrap(title, _WIDTH), ""]
        used_values = _select_settings(values, getattr(module, "USED_SETTINGS", None))
        lines += _format_settings(used_values, {key: name for name, key in aliases.items()})
    if any("full" in word for word in arguments if word in HELP_FLAGS):
        by_module = flags.FLAGS.flags_by_module_dict()
        absl = [f for name in sorted(by_module) if name.startswith("absl") for f in by_module[name]]
        lines += ["", "Flags of absl, for logging, debugging and files of flags:", ""]
        lines += [line for flag in absl for line in _format_flag(flag, None, {})]
    return "\n".join(lines)


def _load_defaults(
    key_flags: Sequence[flags.Flag], arguments: Sequence[str]
) -> tuple[dict[str, Any], Mapping[str, str], str]:
    """Returns the settings by their keys, the keys by short flags, and the dataset."""
    if "dataset" not in {flag.name for flag in key_flags}:
        return {}, {}, ""
    # Commands that only read need no settings, and start without this import.
    from qup.cli import settings

    matches = [re.fullmatch("--?(?:config.dataset.name|dataset)=(.*)", a) for a in arguments]
    dataset = next((match[1] for match in matches if match), "digits")
    try:
        config = settings.load_dataset_settings(dataset, "full")
    except flags.Error:
        # An unknown name is refused when the command runs.
        dataset = "digits"
        config = settings.load_dataset_settings(dataset, "full")
    return nested_config.flatten(config), settings.ALIASES, dataset


def _select_settings(values: Mapping[str, Any], used: Sequence[str] | None) -> dict[str, Any]:
    """Returns the settings that are named in `used`, or whose group is; all of them for None."""
    return {
        key: value
        for key, value in values.items()
        if used is None or key in used or key.partition(".")[0] in used
    }


def _format_flag(flag: flags.Flag, key: str | None, values: Mapping[str, Any]) -> list[str]:
    switch = "[no]" if flag.boolean else ""
    help_text, facts = flag.help or "", [_KINDS.get(type(flag.parser), "")]
    if isinstance(flag.parser, flags.EnumParser):
        # absl writes the values before the text.
        help_text = re.sub("^<.*?>: ", "", help_text)
        facts.append(f"one of {', '.join(flag.parser.enum_values)}")
    if key is not None and flag.default is None:
        facts.append(f"default: {key}, {format_value(values[key])}")
    elif "default" not in help_text.lower():
        facts.append(f"default: {format_value(flag.default)}")
    text = f"--{switch}{flag.name}: {help_text} ({'; '.join(filter(None, facts))})"
    return textwrap.wrap(
        text.replace(" ()", ""),
        _WIDTH,
        initial_indent="  ",
        subsequent_indent="      ",
        break_on_hyphens=False,
    )


def _format_settings(values: Mapping[str, Any], short_flags: Mapping[str, str]) -> Iterator[str]:
    comments = _read_comments()
    for key, value in values.items():
        yield f"  --config.{key}={format_value(value)}"
        text = comments.get(key, "")
        if key in short_flags:
            text = f"{text} Short: --{short_flags[key]}."
        yield from textwrap.wrap(
            text.strip(), _WIDTH, initial_indent="      ", subsequent_indent="      "
        )


def format_value(value: Any) -> str:
    """Returns a value as it is written on a command line; "none" if it is unset."""
    if value is None or value == []:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ",".join(map(format_value, value))
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read_comments() -> dict[str, str]:
    """Returns the comment above each setting in qup/pipelines/defaults.py, by its key."""
    from qup.pipelines import defaults

    comments: dict[str, str] = {}
    group, lines = "", []
    for line in map(str.strip, inspect.getsource(defaults.get_config).splitlines()):
        opening = re.fullmatch(r"config\.(\w+) = \{", line)
        entry = re.match(r'config\.(\w+) = |"(\w+)": ', line)
        if line.startswith("#"):
            lines.append(line.lstrip("# "))
            continue
        if opening:
            group = f"{opening[1]}."
        elif entry:
            comments[entry[1] or group + entry[2]] = " ".join(lines)
        lines = []
    return comments
