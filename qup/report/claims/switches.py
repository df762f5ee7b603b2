"""Under which other attack a verdict is another one."""

from collections.abc import Callable, Mapping, Sequence

from qup.report import claims
from qup.report.claims import Outcome
from qup.report.material import Material
from qup.report.selection import Look

# Beside the paper's attack, clipped: the strongest first.
OTHERS = (Look.WORST, Look.CLIMB, Look.FREE)


def told(
    material: Material,
    outcome: Outcome,
    others: Mapping[Look, Sequence[Outcome]],
    together: Callable[[list[Outcome]], Outcome] = claims.combined,
) -> str:
    """Returns "RA, AutoAttack: contradicted; ..."; "" where none differs.

    Args:
      material: Everything.
      outcome: Under the paper's attack.
      others: What each network says under another one.
      together: How what they say is put together.
    """
    return "; ".join(
        f"{look.title(material)}: {other.value}"
        for look, seen in others.items()
        if seen and (other := together(list(seen))) is not outcome
    )
