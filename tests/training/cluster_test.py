"""TF_CONFIG, and what workers compare before they train together."""

import json
import socket
import threading
import time

import pytest

from qup.core import errors
from qup.training import cluster


def _find_ports(count):
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def _build_clusters(count):
    addresses = tuple(f"127.0.0.1:{port}" for port in _find_ports(count))
    return [cluster.Cluster(addresses, index) for index in range(count)]


def _join_all(clusters, descriptions, timeout_s=20.0):
    """Returns the message of each worker, None without an error."""
    messages = [None] * len(clusters)

    def run(position):
        try:
            cluster.join(clusters[position], descriptions[position], timeout_s=timeout_s)
        except errors.InputError as error:
            messages[position] = str(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(len(clusters))]
    # The chief last: the others wait for it.
    for thread in reversed(threads):
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    return messages


@pytest.mark.parametrize(
    ("jobs", "task", "expected"),
    [
        ({"worker": ["a:1", "b:2"]}, {"type": "worker", "index": 1}, (("a:1", "b:2"), 1)),
        (
            {"chief": ["c:3"], "worker": ["a:1"]},
            {"type": "worker", "index": 0},
            (("c:3", "a:1"), 1),
        ),
        ({"chief": ["c:3"], "worker": ["a:1"]}, {"type": "chief", "index": 0}, (("c:3", "a:1"), 0)),
        ({"worker": ["[::1]:5"]}, {"type": "worker", "index": 0}, (("[::1]:5",), 0)),
    ],
)
def test_tf_config_lists_the_workers(monkeypatch, jobs, task, expected):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": jobs, "task": task}))
    assert cluster.read_cluster() == cluster.Cluster(*expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "TF_CONFIG is not set"),
        ("{", "it is not JSON"),
        ("[]", "a part is missing"),
        ('{"cluster": {"worker": ["a:1"]}}', "a part is missing .'task'"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "index 1"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "0"}}', "index '0'"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}', "type 'ps'"),
        ('{"cluster": {"ps": ["b:1"], "worker": ["a:1"]}, "task": {}}', "the job 'ps'"),
        ('{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}', "'a' is not"),
        ('{"cluster": {"worker": ["a:0"]}, "task": {"type": "worker", "index": 0}}', "'a:0' is"),
        (
            '{"cluster": {"worker": ["a:1", "a:1"]}, "task": {"type": "worker", "index": 0}}',
            "two workers have the same address",
        ),
    ],
)
def test_a_wrong_tf_config_is_one_line(monkeypatch, text, message):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(errors.InputError, match=message) as caught:
        cluster.read_cluster()
    assert "\n" not in str(caught.value) and '"index": 0' in str(caught.value)


def test_equal_workers_join():
    assert _join_all(_build_clusters(3), [{"seed": "0", "version": "1"}] * 3) == [None] * 3


def test_one_worker_waits_for_nobody():
    cluster.join(cluster.Cluster(("nowhere:1",), 0), {}, timeout_s=0)


@pytest.mark.parametrize("other", [{"seed": "1"}, {}, {"seed": "0", "beta": "6"}])
def test_all_workers_report_a_difference(other):
    messages = _join_all(_build_clusters(3), [{"seed": "0"}, {"seed": "0"}, other])
    assert len(set(messages)) == 1 and "\n" not in messages[0]
    key = "beta" if "beta" in other else "seed"
    assert messages[0].startswith(f"Worker 2 has another {key} than worker 0: ")


def test_lists_of_addresses_must_be_equal():
    chief, worker = _build_clusters(2)
    worker = cluster.Cluster((*worker.addresses, "127.0.0.1:9"), 1)
    messages = _join_all([chief, worker], [{}, {}])
    assert messages[0] == messages[1] and "lists other addresses" in messages[0]


def test_a_missing_worker_is_named():
    chief, worker = _build_clusters(2)
    with pytest.raises(errors.InputError, match=f"Worker 1 at {chief.addresses[1]} has not"):
        cluster.join(chief, {}, timeout_s=0.5)
    with pytest.raises(errors.InputError, match=r"Worker 0 cannot be reached at .*refused"):
        cluster.join(worker, {}, timeout_s=0.5)


def test_a_used_port_is_named():
    chief, _ = _build_clusters(2)
    port = int(chief.addresses[0].rpartition(":")[2])
    with (
        socket.create_server(("", port)),
        pytest.raises(errors.InputError, match=f"its address {chief.addresses[0]}"),
    ):
        cluster.join(chief, {}, timeout_s=5)


def test_a_worker_whose_address_is_wrong_is_named():
    chief, _ = _build_clusters(2)
    (unused,) = _find_ports(1)
    addresses = (chief.addresses[0], f"127.0.0.1:{unused}")
    messages = [None, None]

    def join_chief():
        try:
            cluster.join(cluster.Cluster(addresses, 0), {}, timeout_s=20)
        except errors.InputError as error:
            messages[0] = str(error)

    thread = threading.Thread(target=join_chief)
    thread.start()
    # It reports the right list, but listens elsewhere.
    with pytest.raises(errors.InputError, match=f"Worker 1 cannot be reached at {addresses[1]}"):
        cluster._report(cluster.Cluster(addresses, 1), {}, time.monotonic() + 20)
    thread.join()
    assert f"Worker 1 cannot be reached at {addresses[1]}" in messages[0]


def test_other_programs_are_ignored():
    chief, worker = _build_clusters(2)
    results = []
    thread = threading.Thread(
        target=lambda: results.append(cluster.join(chief, {"a": "b"}, timeout_s=20))
    )
    thread.start()
    time.sleep(0.2)
    for content in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"greeting": "x"}\n', b"\xff\n", b""):
        with socket.create_connection(
            ("127.0.0.1", int(chief.addresses[0].rpartition(":")[2])), timeout=5
        ) as connection:
            connection.sendall(content)
    cluster.join(worker, {"a": "b"}, timeout_s=20)
    thread.join()
    assert results == [None]


def test_a_worker_reports_again_to_a_chief_that_was_restarted():
    chief, worker = _build_clusters(2)
    results = []
    thread = threading.Thread(target=lambda: results.append(cluster.join(worker, {}, timeout_s=20)))
    thread.start()
    port = int(chief.addresses[0].rpartition(":")[2])
    with socket.create_server(("", port)) as server:
        server.settimeout(10)
        connection, _ = server.accept()
        # This chief ends before it answers.
        connection.close()
    cluster.join(chief, {}, timeout_s=20)
    thread.join()
    assert results == [None]
