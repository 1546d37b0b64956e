"""Records kept in memory: lookups by tag, and thinning of long series."""

import math

import numpy as np
import pytest

from gradlab.records import Array, Breakdown, Figure, Histogram, Hparams, Scalar, Text
from gradlab.sinks import MemorySink


def filled(records, limit=None):
    memory = MemorySink(limit)
    memory.write(records)
    return memory


def test_scalars_are_found_by_prefix_in_double_precision():
    memory = filled([Scalar("loss/train", 0, 0.1), Scalar("loss/test", 5, 2.0), Scalar("lr", 0, 1.0)])
    memory.write([Scalar("loss/train", 1, math.nan)])
    found = memory.scalars("loss/")
    assert list(found) == ["loss/train", "loss/test"]
    steps, values = found["loss/train"]
    assert (steps.dtype, values.dtype) == (np.int64, np.float64)
    assert steps.tolist() == [0, 1]
    assert values[0] == 0.1
    assert math.isnan(values[1])
    assert memory.scalars("gradient/") == {}


def test_scalars_read_earlier_do_not_change_with_later_records():
    memory = filled([Scalar("a", 0, 1.0)])
    steps, _ = memory.scalars()["a"]
    memory.write([Scalar("a", 1, 2.0)])
    assert steps.tolist() == [0]


def test_arrays_are_stacked_with_their_steps():
    memory = filled([Array("path/point", 2, np.array([1.0, 2.0])), Array("path/point", 4, np.array([3.0, 4.0]))])
    steps, values = memory.arrays("path/point")
    assert steps.tolist() == [2, 4]
    assert values.tolist() == [[1.0, 2.0], [3.0, 4.0]]


def test_an_array_that_never_came_is_named_beside_those_that_did():
    memory = filled([Array("surface/x", 0, np.zeros(1)), Scalar("path", 0, 0.0)])
    with pytest.raises(KeyError, match="'path'.*surface/x"):
        memory.arrays("path")


def test_records_of_one_type_are_the_very_ones_that_came():
    text = Text("notes/a", 0, "a")
    histogram = Histogram("notes/b", 0, np.array([0.0, 1.0]), np.array([1]))
    picture = Figure("notes/c", 0, b"")
    breakdown = Breakdown("chain/table", 0, ())
    memory = filled([text, histogram, picture, breakdown])
    assert memory.records(Text) == [text]
    assert memory.records(Histogram, "notes/")[0] is histogram
    assert memory.records(Figure, "other/") == []
    assert memory.breakdowns("chain/") == [breakdown]


@pytest.mark.parametrize("kind", [Scalar, Hparams])
def test_scalars_and_hparams_have_lookups_of_their_own(kind):
    with pytest.raises(TypeError, match=kind.__name__):
        MemorySink().records(kind)


def test_tags_come_once_each_in_order():
    memory = filled([Scalar("b", 0, 0.0), Text("a", 0, ""), Scalar("b", 1, 0.0), Text("b", 0, "")])
    assert memory.tags() == ["b", "a"]
    assert memory.tags("a") == ["a"]


def test_the_last_hparams_are_kept():
    assert MemorySink().hparams is None
    first, last = Hparams({"lr": 0.1}, {}), Hparams({"lr": 0.2}, {"loss": 1.0})
    assert filled([first, last]).hparams is last


def test_records_stay_readable_after_close():
    memory = filled([Scalar("a", 0, 1.0)])
    memory.flush()
    memory.close()
    memory.close()
    assert memory.scalars()["a"][1].tolist() == [1.0]


def test_without_a_limit_every_point_is_kept():
    memory = filled(Scalar("a", step, 0.0) for step in range(5000))
    assert memory.scalars()["a"][0].tolist() == list(range(5000))


@pytest.mark.parametrize("limit", [2, 3, 4, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 3, 8, 99, 100, 101, 1234])
def test_a_thinned_series_is_even_and_keeps_both_ends(limit, count):
    memory = filled((Scalar("a", step, step / 2) for step in range(count)), limit)
    steps, values = memory.scalars()["a"]
    assert len(steps) == count if count <= limit else len(steps) <= limit
    assert (steps[0], steps[-1]) == (0, count - 1)
    gaps = set(np.diff(steps[:-1]).tolist())
    assert len(gaps) <= 1
    assert all(gap & (gap - 1) == 0 for gap in gaps), "every second point, every fourth, and so on"
    assert values.tolist() == [step / 2 for step in steps.tolist()]


def test_thinning_reaches_arrays_too_and_each_tag_by_itself():
    memory = filled((Array("a", step, np.array([step])) for step in range(50)), limit=4)
    memory.write([Array("b", 0, np.zeros(1))])
    steps, values = memory.arrays("a")
    assert len(steps) <= 4
    assert values[:, 0].tolist() == steps.tolist()
    assert memory.arrays("b")[0].tolist() == [0]


@pytest.mark.parametrize("limit", [1, 0, -3])
def test_a_limit_without_room_for_both_ends_is_refused(limit):
    with pytest.raises(ValueError, match=f"limit={limit}"):
        MemorySink(limit)
