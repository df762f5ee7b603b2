"""The processes of a training: what TF_CONFIG says, and whether they belong together.

Before TensorFlow connects the workers, they compare their settings and versions at the same
addresses. TensorFlow itself would wait for an hour for a worker that is missing, and would train
different networks together.

```python
cluster = read_cluster()
join(cluster, {"settings": digest, "version of TensorFlow": "2.21.0"}, timeout_s=300)
```
"""

import contextlib
import dataclasses
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from typing import Any

from qup.core import errors

VARIABLE = "TF_CONFIG"
_EXAMPLE = (
    '{"cluster": {"worker": ["10.0.0.1:4000", "10.0.0.2:4000"]}, '
    '"task": {"type": "worker", "index": 0}}'
)
_GREETING = "qup-train-worker 1"
_MAX_MESSAGE_BYTES = 65536
_CONNECT_TIMEOUT_S, _RETRY_S = 5.0, 0.3
_log = logging.getLogger("qup")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """The workers of a training.

    Attributes:
      addresses: "host:port" of each worker.
      index: The number of this one; 0 is the chief.
    """

    addresses: tuple[str, ...]
    index: int


def read_cluster() -> Cluster:
    """Returns the workers of the environment variable TF_CONFIG.

    Raises:
      InputError: It is missing, or is not what a training needs.
    """
    text = os.environ.get(VARIABLE, "")
    if not text.strip():
        raise errors.InputError(
            f"The environment variable {VARIABLE} is not set. It lists the workers, and says which "
            f"one this is: {_EXAMPLE}"
        )
    try:
        return _parse_cluster(json.loads(text))
    except json.JSONDecodeError as error:
        reason = f"it is not JSON ({error})"
    except (KeyError, TypeError, AttributeError) as error:
        reason = f"a part is missing ({errors.format_first_line(error)})"
    except ValueError as error:
        reason = str(error)
    raise errors.InputError(
        f"{VARIABLE} cannot be used: {reason}. Received {errors.shorten(text)}; expected for "
        f"example {_EXAMPLE}"
    )


def _parse_cluster(content: Mapping[str, Any]) -> Cluster:
    jobs, task = dict(content["cluster"]), content["task"]
    others = sorted(jobs.keys() - {"chief", "worker"})
    if others:
        raise ValueError(f"it has the job {others[0]!r}, where only workers train")
    if task["type"] not in jobs:
        raise ValueError(f"the task's type {task['type']!r} is not in the cluster")
    for address in (a for addresses in jobs.values() for a in addresses):
        host, _, port = str(address).rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError(f"{address!r} is not host:port")
    addresses = (*jobs.get("chief", ()), *jobs.get("worker", ()))
    if len(set(addresses)) < len(addresses):
        raise ValueError("two workers have the same address")
    index, own = task["index"], jobs[task["type"]]
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(own):
        raise ValueError(f"the task's index {index!r} is not from 0 to {len(own) - 1}")
    offset = len(jobs.get("chief", ())) if task["type"] == "worker" else 0
    return Cluster(addresses, index + offset)


def join(cluster: Cluster, description: Mapping[str, str], *, timeout_s: float) -> None:
    """Waits for all workers, and compares what they are about to do.

    Args:
      cluster: The workers.
      description: Must be the same for all: for example a setting, or a version.
      timeout_s: How long to wait for the others.

    Raises:
      InputError: A worker cannot be reached, or differs; raised on all workers that are reached.
    """
    if len(cluster.addresses) == 1:
        return
    deadline = time.monotonic() + timeout_s
    own = dict(description)
    with _listen(cluster) as server:
        if cluster.index == 0:
            _collect_reports(cluster, own, server, deadline)
        else:
            _report(cluster, own, deadline)


@contextlib.contextmanager
def _listen(cluster: Cluster) -> Iterator[socket.socket]:
    address = cluster.addresses[cluster.index]
    try:
        server = socket.create_server(
            ("", int(address.rpartition(":")[2])), backlog=len(cluster.addresses) + 8
        )
    except OSError as error:
        raise errors.InputError(
            f"Worker {cluster.index} cannot use its address {address}: {error.strerror or error}. "
            f"End what uses the port, or name another one in {VARIABLE} of all workers."
        ) from error
    with server:
        yield server


def _connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_TIMEOUT_S)


def _send(connection: socket.socket, message: Any) -> None:
    connection.sendall(json.dumps(message).encode() + b"\n")


def _receive(connection: socket.socket) -> Any:
    """Returns a message; None if the other side ended without one."""
    content = b""
    while not content.endswith(b"\n"):
        received = connection.recv(4096)
        if not received or len(content) > _MAX_MESSAGE_BYTES:
            return None
        content += received
    return json.loads(content)


def _report(cluster: Cluster, own: dict[str, str], deadline: float) -> None:
    """Reports to the chief, again if it is restarted, and waits for its answer."""
    message = {"greeting": _GREETING, "index": cluster.index, "addresses": cluster.addresses}
    message["description"] = own
    reason, is_logged = "", False
    while time.monotonic() < deadline:
        answer = None
        try:
            with _connect(cluster.addresses[0]) as connection:
                _send(connection, message)
                connection.settimeout(max(deadline - time.monotonic(), 0.1))
                answer = _receive(connection)
            reason = "it answers something else than a worker of qup"
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
        if isinstance(answer, dict) and answer.get("greeting") == _GREETING:
            if answer["error"] is not None:
                raise errors.InputError(answer["error"])
            return
        if not is_logged:
            _log.info("Waiting for worker 0 at %s.", cluster.addresses[0])
            is_logged = True
        time.sleep(_RETRY_S)
    raise errors.InputError(
        f"Worker 0 cannot be reached at {cluster.addresses[0]}: {reason or 'no answer'}. Start it, "
        f"and compare {VARIABLE} of the workers and the firewall between them."
    )


def _collect_reports(
    cluster: Cluster, own: dict[str, str], server: socket.socket, deadline: float
) -> None:
    """Waits for the reports of all workers, and answers them."""
    expected = set(range(1, len(cluster.addresses)))
    reports: dict[int, dict] = {}
    is_logged = False
    with contextlib.ExitStack() as stack:
        connections: dict[int, socket.socket] = {}
        while expected - reports.keys() and (left := deadline - time.monotonic()) > 0:
            server.settimeout(min(left, 1.0))
            try:
                connection = stack.enter_context(server.accept()[0])
                connection.settimeout(_CONNECT_TIMEOUT_S)
                report = _receive(connection)
            except (OSError, ValueError):
                report = None
            if isinstance(report, dict) and report.get("greeting") == _GREETING:
                index = report.get("index")
                if index in expected:
                    reports[index], connections[index] = report, connection
            elif not is_logged:
                missing = ", ".join(cluster.addresses[i] for i in sorted(expected - reports.keys()))
                _log.info("Waiting for the workers at %s.", missing)
                is_logged = True
        error = _compare(cluster, own, reports)
        for connection in connections.values():
            with contextlib.suppress(OSError):
                _send(connection, {"greeting": _GREETING, "error": error})
        if error is not None:
            raise errors.InputError(error)
        # The side that closes first keeps the port for a while.
        for connection in connections.values():
            with contextlib.suppress(OSError):
                connection.recv(1)


def _compare(cluster: Cluster, own: dict[str, str], reports: Mapping[int, dict]) -> str | None:
    """Returns what prevents a training, in one line; None if nothing does."""
    for index, address in enumerate(cluster.addresses[1:], 1):
        if index not in reports:
            return (
                f"Worker {index} at {address} has not started in time. Start it, and compare "
                f"{VARIABLE} of the workers and the firewall between them."
            )
        report = reports[index]
        if tuple(report.get("addresses", ())) != cluster.addresses:
            return (
                f"{VARIABLE} of worker {index} lists other addresses than that of worker 0: "
                f"{errors.shorten(report.get('addresses'))}, {errors.shorten(cluster.addresses)}. "
                "Give all workers the same list."
            )
        other = report.get("description", {})
        for key in {**own, **other}:
            if own.get(key) != other.get(key):
                return (
                    f"Worker {index} has another {key} than worker 0: "
                    f"{errors.shorten(other.get(key))}, {errors.shorten(own.get(key))}. Start all "
                    "workers with the same command and the same installation."
                )
        try:
            _connect(address).close()
        except OSError as error:
            return (
                f"Worker {index} cannot be reached at {address}: {error.strerror or error}. "
                f"Compare {VARIABLE} of the workers and the firewall between them."
            )
    return None
