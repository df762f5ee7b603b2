"""Without a network the error comes soon and says what to do."""

import itertools
import socket
import time

import pytest

from qup import datasets
from qup.core.errors import InputError
from qup.datasets import tfds


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.parametrize("name", ["cifar10", "fashion_mnist", "mnist", "svhn_cropped"])
def test_without_a_network_the_alternatives_are_reported(name, tmp_path):
    gone, scratch = tmp_path / "gone", tmp_path / "scratch"
    scratch.mkdir()
    start = time.monotonic()
    with pytest.raises(InputError) as caught:
        datasets.load(name, data_dir=gone, scratch_dir=scratch)
    assert time.monotonic() - start < 20
    message = str(caught.value)
    assert f"{gone} (which does not exist) or {scratch}" in message
    for way in ("--data_dir", "--manual_dir", "--dataset=digits"):
        assert way in message
    assert not gone.exists()


def test_a_hanging_name_look_up_times_out(monkeypatch):
    def hang(*_, **__):
        time.sleep(2)
        raise OSError("too late")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    start = time.monotonic()
    reason = tfds.find_connection_error("https://data.invalid/", seconds=0.2)
    assert "no answer" in reason
    assert time.monotonic() - start < 1.5


def test_a_missing_answer_times_out(monkeypatch):
    monkeypatch.undo()
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        url = f"http://127.0.0.1:{port}/"
        assert tfds.find_connection_error(url, seconds=0.3) == "ReadTimeout"


def test_missing_originals_are_named(tmp_path):
    with pytest.raises(InputError) as caught:
        datasets.load("mnist", data_dir=tmp_path, manual_dir=tmp_path)
    for kind, part in itertools.product(("images-idx3", "labels-idx1"), ("train", "t10k")):
        assert f"{part}-{kind}-ubyte.gz" in str(caught.value)
