"""Templates of pages, and text of users in them.

```python
environment = create_environment("qup.robustness.report")
environment.get_template("robustness.html.j2").render(title="A title")
```
"""

import re

from qup.core import extras

with extras.explain_missing("A page"):
    import jinja2

# Markup of Markdown, and of HTML within it.
_MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~])")


def create_environment(package: str) -> jinja2.Environment:
    """Returns the templates of a package; those of HTML (.html.j2) escape all text.

    A value that is missing is an error. The filters are "printable" (`remove_control_characters`),
    "line" (`join_lines`) and "markdown" (`escape_markdown`).

    Args:
      package: Name of the package with the folder templates.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "line": join_lines,
        "markdown": escape_markdown,
        "printable": remove_control_characters,
    }
    return environment


def remove_control_characters(value: object) -> str:
    """Returns a text without characters that could hide text or change its direction."""
    return "".join(c for c in str(value) if c in "\n\t" or c.isprintable())


def join_lines(value: object) -> str:
    """Returns a text in one line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(value)).split())


def escape_markdown(value: object) -> str:
    """Returns a text in one line that Markdown shows as it is."""
    return _MARKDOWN_SPECIAL.sub(r"\\\1", join_lines(value))
