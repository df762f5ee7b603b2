"""Whether an address answers, found out in a bounded time."""

import queue
import threading


def find_obstacle(url: str, *, seconds: float = 5.0) -> str:
    """Tries to open `url` as a download would, proxies included.

    Args:
      url: An http or https address.
      seconds: Patience with connecting and with the first answer. Name
        look-ups that hang are given up after twice as long.

    Returns:
      Why it cannot be read, in a few words; empty if it can.
    """
    answers: queue.Queue[str] = queue.Queue()
    # A thread, since nothing else can cut a hanging name look-up short.
    threading.Thread(target=lambda: answers.put(_try_opening(url, seconds)), daemon=True).start()
    try:
        return answers.get(timeout=2 * seconds)
    except queue.Empty:
        return f"no answer within {2 * seconds:g} seconds"


def _try_opening(url: str, seconds: float) -> str:
    # Imported here for its start-up time. tensorflow-datasets downloads
    # with it, so what stops one stops the other.
    import requests

    try:
        with requests.get(url, stream=True, timeout=seconds) as response:
            response.raise_for_status()
    except (OSError, ValueError) as error:
        return type(error).__name__
    return ""
