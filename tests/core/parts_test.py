"""Parts of work: how they are written, read from a scheduler, and cut."""

import pytest

from qup.core import errors
from qup.core.parts import WHOLE, Part


@pytest.mark.parametrize("count", [1, 2, 3, 7, 40])
def test_every_shard_is_in_exactly_one_part(count):
    parts = [Part(number, count) for number in range(1, count + 1)]
    for shard in range(100):
        assert sum(part.owns(shard) for part in parts) == 1


def test_the_whole_owns_everything():
    assert WHOLE.is_whole and all(map(WHOLE.owns, range(10)))
    assert not Part(1, 2).is_whole


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("3/40", {}, (3, 40)),
        (" 1/1 ", {}, (1, 1)),
        ("auto/40", {"JOB_COMPLETION_INDEX": "0"}, (1, 40)),
        ("auto/40", {"JOB_COMPLETION_INDEX": "39"}, (40, 40)),
        ("auto/40", {"SLURM_ARRAY_TASK_ID": "0"}, (1, 40)),
        # --array=1-40
        ("auto/40", {"SLURM_ARRAY_TASK_ID": "40"}, (1, 40)),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "12",
                "SLURM_ARRAY_TASK_MIN": "10",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            (3, 4),
        ),
    ],
)
def test_a_part_is_read_from_text_and_from_schedulers(text, environment, expected):
    part = Part.parse(text, environment)
    assert (part.number, part.count) == expected
    assert Part.parse(str(part)) == part


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        ("0/4", {}, "1 <= k <= n"),
        ("5/4", {}, "received 5/4"),
        ("1/0", {}, "1 <= k <= n"),
        ("1", {}, "such as 3/40"),
        ("-1/3", {}, "such as 3/40"),
        ("1/2/3", {}, "such as 3/40"),
        ("auto/4", {}, "Give the part, such as --part=1/4"),
        ("auto/4", {"JOB_COMPLETION_INDEX": "4"}, "received 5/4"),
        ("auto/4", {"SLURM_ARRAY_TASK_ID": "x"}, "SLURM_ARRAY_TASK_ID='x'"),
        ("auto", {}, "at least one is not set"),
        (
            "auto",
            {
                "SLURM_ARRAY_TASK_ID": "7",
                "SLURM_ARRAY_TASK_MIN": "3",
                "SLURM_ARRAY_TASK_COUNT": "2",
            },
            "not consecutive",
        ),
    ],
)
def test_a_wrong_part_is_refused(text, environment, message):
    with pytest.raises(errors.InputError, match=message):
        Part.parse(text, environment)
