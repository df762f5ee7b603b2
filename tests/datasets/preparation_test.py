"""A dataset is prepared from original files, completely or not at all."""

import gzip
import hashlib
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from qup import datasets
from qup.core.errors import InputError
from qup.datasets import tfds as datasets_tfds

_ROWS = {"train": 12, "test": 5}


class _FromFile(tfds.core.GeneratorBasedBuilder):
    """Images of one grey, the single byte in the file "original.gz"."""

    VERSION = tfds.core.Version("1.0.0")
    grey = 0

    def _info(self):
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(
                {
                    "image": tfds.features.Image(shape=(2, 2, 1)),
                    "label": tfds.features.ClassLabel(num_classes=3),
                }
            ),
            supervised_keys=("image", "label"),
        )

    def _split_generators(self, dl_manager):
        (url,) = self.url_infos
        path = dl_manager.download_and_extract(url)
        grey = pathlib.Path(path).read_bytes()[0]
        return {k: self._generate_examples(n, grey) for k, n in _ROWS.items()}

    def _generate_examples(self, count, grey):
        for i in range(count):
            image = np.full((2, 2, 1), grey, np.uint8)
            yield i, {"image": image, "label": i % 3}

    @classmethod
    def content(cls):
        return gzip.compress(bytes([cls.grey]), mtime=0)


def _url_infos(name, content):
    digest = hashlib.sha256(content).hexdigest()
    info = tfds.core.download.checksums.UrlInfo(
        size=tfds.core.utils.Size(len(content)), checksum=digest, filename="original.gz"
    )
    return {f"https://data.invalid/{name}/original.gz": info}


class TinyDark(_FromFile):
    grey = 10


class TinyLight(_FromFile):
    grey = 200


for _builder in (TinyDark, TinyLight):
    _builder.url_infos = _url_infos(_builder.name, _builder.content())


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def manual(tmp_path):
    def write(builder):
        folder = tmp_path / f"manual_{builder.name}"
        folder.mkdir(exist_ok=True)
        (folder / "original.gz").write_bytes(builder.content())
        return folder

    return write


def _load(name, **options):
    source = datasets_tfds.load_prepared(name, origin="a test", **options)
    return datasets.Dataset(name, source)


def _greys(data):
    (batch,) = data.evaluation_batches("test", _ROWS["test"])
    return np.unique(np.round(batch["image"].numpy() * 255)).tolist()


def test_originals_are_prepared_once_without_a_network(manual, tmp_path):
    target = tmp_path / "made" / "here"
    data = _load("tiny_dark", data_dir=target, manual_dir=manual(TinyDark))
    assert data.info.sizes == _ROWS
    assert _greys(data) == [10]
    assert [p.name for p in (target / "tiny_dark").iterdir()] == ["1.0.0"]
    assert _greys(_load("tiny_dark", data_dir=target)) == [10]


def test_equal_file_names_do_not_mix_two_datasets(manual, tmp_path):
    for builder in (TinyDark, TinyLight):
        options = {"data_dir": tmp_path, "manual_dir": manual(builder)}
        assert _greys(_load(builder.name, **options)) == [builder.grey]


def test_scratch_replaces_a_read_only_data_directory(manual, tmp_path, monkeypatch):
    # A directory below a file cannot be made, by whomever.
    (tmp_path / "file").touch()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "file" / "below"))
    scratch = tmp_path / "scratch"
    options = {"manual_dir": manual(TinyDark), "scratch_dir": scratch}
    assert _greys(_load("tiny_dark", **options)) == [10]
    assert _greys(_load("tiny_dark", scratch_dir=scratch)) == [10]


def test_the_error_names_every_folder_that_is_not_writable(manual, tmp_path):
    (tmp_path / "file").touch()
    places = [tmp_path / "file" / name for name in ("a", "b")]
    with pytest.raises(InputError, match="Cannot prepare") as caught:
        _load("tiny_dark", data_dir=places[0], scratch_dir=places[1], manual_dir=manual(TinyDark))
    assert all(str(place) in str(caught.value) for place in places)


def test_a_wrong_original_is_named_with_both_sizes(manual, tmp_path):
    folder = manual(TinyDark)
    (folder / "original.gz").write_bytes(b"something else")
    size = len(TinyDark.content())
    with pytest.raises(InputError, match=rf"original\.gz .* {size} bytes .* got 14 bytes"):
        _load("tiny_dark", data_dir=tmp_path / "data", manual_dir=folder)
    assert not (tmp_path / "data").exists()


def test_a_failed_preparation_leaves_nothing_to_find(manual, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("no such luck")
        yield

    options = {"data_dir": tmp_path, "manual_dir": manual(TinyDark)}
    with monkeypatch.context() as patch:
        patch.setattr(TinyDark, "_generate_examples", fail)
        with pytest.raises(InputError, match=r"failed: .*no such luck"):
            _load("tiny_dark", **options)
    assert _greys(_load("tiny_dark", **options)) == [10]


_KILLED = """
import os
from tests.datasets.preparation_test import TinyDark, np, datasets_tfds
def die(self, count, grey):
    yield 0, {"image": np.zeros((2, 2, 1), np.uint8), "label": 0}
    os.kill(os.getpid(), 9)
TinyDark._generate_examples = die
datasets_tfds.load_prepared("tiny_dark", origin="", data_dir=DATA, manual_dir=MANUAL)
"""


@pytest.mark.slow
def test_a_killed_preparation_starts_again(manual, tmp_path):
    folder, target = manual(TinyDark), tmp_path / "data"
    code = _KILLED.replace("DATA", repr(str(target)))
    code = code.replace("MANUAL", repr(str(folder)))
    root = pathlib.Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, cwd=root)
    assert killed.returncode == -9, killed.stderr.decode()
    assert any((target / "tiny_dark").iterdir())
    data = _load("tiny_dark", data_dir=target, manual_dir=folder)
    assert _greys(data) == [10]
