"""The path of a reader from `attacks.run` to the equation of an attack stays short."""

import pathlib
import sys

import numpy as np
import tensorflow as tf

import qup
from qup import attacks
from qup.attacks.pgd import PGD

_PACKAGE = str(pathlib.Path(qup.__file__).parent)


def _trace_path_to_step() -> tuple[list[str], set[str]]:
    """Returns the frames of this package at PGD.step, and all its files entered before."""
    weights = np.random.default_rng(0).normal(size=(16, 3)).astype(np.float32)
    frames, files = [], set()

    def profile(frame, event, argument):
        if event != "call" or not frame.f_code.co_filename.startswith(_PACKAGE):
            return
        files.add(frame.f_code.co_filename.removeprefix(_PACKAGE))
        if frame.f_code is PGD.step.__code__:
            sys.setprofile(None)
            while frame is not None:
                if frame.f_code.co_filename.startswith(_PACKAGE):
                    frames.append(frame.f_code.co_qualname)
                frame = frame.f_back

    def logits_fn(images):
        return tf.reshape(images, (-1, 16)) @ weights

    attacks.names()  # Imports all attacks.
    sys.setprofile(profile)
    try:
        images = np.full((2, 4, 4, 1), 0.5, np.float32)
        labels = (images.reshape(2, 16) @ weights).argmax(-1)
        attacks.run("pgd", logits_fn, images, labels, epsilon=0.1)
    finally:
        sys.setprofile(None)
    return frames[::-1], files


def test_six_frames_and_few_files_lead_to_the_step_of_pgd():
    frames, files = _trace_path_to_step()
    assert frames[0] == "run" and frames[-1] == "PGD.step"
    assert len(frames) <= 6, frames
    # Of `core`: checks of numbers, norms, the registry, the cache of programs, the contract and the
    # gradient of the classifier, and signals.
    assert len([file for file in files if not file.startswith("/core/")]) <= 9, sorted(files)
    assert len(files) <= 17, sorted(files)
