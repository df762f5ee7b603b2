"""Time and peak memory of a whole command.

    python -m benchmarks.pipeline --dataset=mnist --workdir=runs/mnist

All flags are those of `python -m bin.run_ifa`; the processes that it starts count.
"""

import resource
import subprocess
import sys
import time

from benchmarks import timing


def main() -> int:
    """Runs the command; returns its exit status."""
    command = [sys.executable, "-m", "bin.run_ifa", *sys.argv[1:]]
    start = time.perf_counter()
    status = subprocess.run(command).returncode
    minutes, seconds = divmod(time.perf_counter() - start, 60)
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        f"\n{timing.describe_machine()}\nexit {status}, {minutes:.0f} min "
        f"{seconds:.0f} s, peak memory {usage.ru_maxrss / 2**20:.2f} GiB, "
        f"processor {(usage.ru_utime + usage.ru_stime) / 60:.0f} min"
    )
    return status


if __name__ == "__main__":
    sys.exit(main())
