"""How it was measured, and what was not: versions, seeds, time, failures."""

from qup.report import sections
from qup.report.blocks import Block, BulletList, Cell, Command, Paragraph, Section, Table
from qup.report.material import ReportData

_ASSUMPTIONS = (
    "The loss of the attacks is cross-entropy of the logits with the true "
    "label; l_inf names the ball. Step = epsilon / 4, no random start: the "
    "paper's 4 x 0.025 = 0.1 and 4 x 2/255 = 8/255.",
    "The paper does not say whether attacked pixels are clipped to [0, 1]; both are given.",
    "RA is the share of all test images that are classified rightly after the "
    "attack; one that was misclassified before and is right afterwards counts "
    "(the rows robust_accuracy_strict leave it out).",
    "Recipes are not in the paper, and we did not consult the code that it "
    "cites: ConvNet is LeNet-5 with Adam 1e-3, the others are "
    "described in the models' own documentation. No augmentation.",
    "The supplement walks N = 200 steps; their length and their clip stand "
    "nowhere beside it. Ours were chosen to come near the supplement's Table "
    "1 on held-out images, so agreement with that table is no independent "
    "evidence.",
)


@sections.register(order=200)
def protocol(data: ReportData) -> Section:
    """Returns how it was measured."""
    run_info = data.run_info
    seeds = ", ".join(str(seed) for seed in run_info.get("seeds", ())) or "none"
    hours = run_info.get("seconds", 0) / 3600
    blocks: list[Block] = [
        Paragraph(
            f"Scale {data.scale.name}; seeds {seeds}; {hours:.1f} hours "
            f"of computing; {len(data.rows)} measurements."
        ),
        Paragraph("Where the paper leaves something open, we assumed:"),
        BulletList((*_ASSUMPTIONS, *_format_augmentations(data))),
        Paragraph("To compute all of it, and to write this page anew from the measurements alone:"),
        Command(
            f"python -m bin.reproduce --scale={data.scale.name} "
            f"--workdir=FOLDER\npython -m bin.report FOLDER"
        ),
        _build_versions_table(data),
    ]
    failures = run_info.get("failed", {})
    if failures:
        blocks.append(Paragraph("Steps that failed in the newest run:"))
        blocks.append(BulletList(tuple(f"{k}: {v}" for k, v in failures.items())))
    return Section("protocol", "How it was measured", tuple(blocks))


def _format_augmentations(data: ReportData) -> tuple[str, ...]:
    """Returns the walks that the pairs' translators were taught."""
    names = ("augmentation_num_steps", "augmentation_step_size", "augmentation_pixel_clip")
    pairs = data.find(classifier="ACL", measure="test_accuracy", control=None)
    settings = sorted(
        {
            (row.dataset, *(row.parameters[name] for name in names))
            for row in pairs
            if all(name in row.parameters for name in names)
        }
    )
    if not settings:
        return ()
    texts = (
        f"{dataset}: {steps} of {size:g}, {'' if clip else 'not '}clipped"
        for dataset, steps, size, clip in settings
    )
    return (f"Our walks, steps and their length: {'; '.join(texts)}.",)


def _build_versions_table(data: ReportData) -> Table:
    versions = dict(data.run_info.get("versions", {}))
    if data.run_info.get("anonymous"):
        versions.pop("system", None)
    body = tuple((Cell(k), Cell(str(v))) for k, v in sorted(versions.items()))
    return Table(("what", "version"), body)
