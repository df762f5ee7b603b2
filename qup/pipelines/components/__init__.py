"""The pipelines' steps as components: cached, resumed and traced.

Each component applies functions of the library to artifacts; qup/pipelines/ifa.py connects them.
`Trainer.fn` and the others are the plain functions.

Arguments with one meaning in all components, which their docstrings leave out:

- `examples`: images and labels, see qup/datasets/examples.py.
- `model`: the classifier, image -> logits.
- `evaluation`: measurements.csv, the rows of the component.
- `attack`: the group `attack` of the settings, see qup/robustness/evaluation.py.
- `split`: the split of `examples` that is used, "test" or "validation".
- `num_images`: how many images of the split, from the first; None for all.
- `batch_size`: images per batch.
- `seed`: seed of all random numbers of the component.
- `row_parameters`: further parameters of the component's rows.
- `log_dir`: TensorBoard's folder; None writes no summaries.

This module imports nothing, so that the import of one component does not import all.
"""
