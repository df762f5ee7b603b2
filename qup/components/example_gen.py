"""Step 1: the images, chosen once and written down."""

from qup import datasets
from qup.components.artifacts import Examples
from qup.datasets import examples as files_of_examples
from qup.errors import InputError
from qup.orchestration import Location, Out, component


@component
def ExampleGen(
    examples: Out[Examples],
    *,
    dataset: str,
    source: str,
    image_size: tuple[int, int] | None = None,
    train_size: int | None = None,
    test_size: int | None = None,
    validation_size: int = 0,
    seed: int = 0,
    data_dir: Location[str | None] = None,
    manual_dir: Location[str | None] = None,
    scratch_dir: Location[str | None] = None,
) -> None:
    """Writes the chosen images of a dataset.

    Args:
      examples: The images.
      dataset: Its registered name.
      source: Digest of the files that it is read from: other files are
        other examples.
      image_size: See `datasets.load`, as all that follow.
      train_size: See there.
      test_size: See there.
      validation_size: See there.
      seed: See there.
      data_dir: See there.
      manual_dir: See there.
      scratch_dir: See there.
    """
    data = datasets.load(
        dataset,
        data_dir=data_dir,
        manual_dir=manual_dir,
        scratch_dir=scratch_dir,
        image_size=image_size,
        train_size=train_size,
        test_size=test_size,
        validation_size=validation_size,
        seed=seed,
    )
    files_of_examples.write(data, examples.path)
    if data.compute_source_digest() != source:
        raise InputError(f"The files of {dataset} changed while they were read. Start again.")
    for split, size in data.info.sizes.items():
        examples.properties[f"{split}_size"] = size
