"""The study of a training run: its means, its figures, and what theory says of the first step."""

import json
import math

import numpy as np
import pytest

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.figures import training as drawn
from gradlab.records import Scalar
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished
from gradlab.studies.training import Training, weights_of

WEIGHTS = ("0.weight", "2.weight")


def recorded(steps=40):
    """Records as a run leaves them; each quantity of its own size, falling as 1/(step + 1)."""
    memory = MemorySink()
    for step in range(steps):
        fall = 1 / (step + 1)
        memory.write([Scalar("loss/train", step, 2 * fall), Scalar("total/norm_before_clipping", step, 3 * fall)])
        for i, weight in enumerate(WEIGHTS, 1):
            memory.write([Scalar(f"gradient/{weight}/rms", step, i * fall)])
            memory.write([Scalar(f"update/{weight}/ratio", step, 0.1 * i * fall)])
            memory.write([Scalar(f"gradient/{weight}/cosine", step, i * 0.4 * fall)] if step else [])
        memory.write([Scalar("total/cosine", step, 0.5 * fall)] if step else [])
    return memory


class OneRun:
    """A setting whose run has ended already."""

    def __init__(self, memory):
        self.memory = memory

    def run(self, variants):
        return [Finished(name, "agree", {}, self.memory, None, None, None) for name in variants]


def test_means_are_those_of_the_first_and_the_last_steps():
    numbers = Training(window=4)(OneRun(recorded())).numbers
    first, last = np.mean([1, 1 / 2, 1 / 3, 1 / 4]), np.mean([1 / n for n in (37, 38, 39, 40)])
    assert numbers["loss at the first step"] == 2.0
    assert numbers["loss, first"] == pytest.approx(2 * first)
    assert numbers["gradient norm, last"] == pytest.approx(3 * last)
    assert numbers["2.weight: gradient RMS, first"] == pytest.approx(2 * first)
    assert numbers["0.weight: update ratio, last"] == pytest.approx(0.1 * last)
    assert numbers["0.weight: update ratio, very first"] == pytest.approx(0.1)
    assert numbers["cosine, first"] == pytest.approx(0.5 * np.mean([1 / n for n in (2, 3, 4, 5)]))


def test_the_table_has_a_row_for_each_weight_and_a_cell_for_each_heading():
    found = Training(window=4)(OneRun(recorded()))
    assert [row[0] for row in found.rows] == ["weight", *WEIGHTS]
    assert {len(row) for row in found.rows} == {7}
    assert set(found.figures) == {"training", "steps"}
    assert found.statuses == {"training": "agree"}


def test_the_cosines_drawn_are_moving_means():
    left = drawn.steps(recorded(), weights_of(recorded()), 3).axes[0]
    line = left.lines[1]
    values = [0.8 / (step + 1) for step in range(1, 40)]
    assert line.get_label() == "2.weight"
    assert line.get_xdata() == pytest.approx(np.arange(2, 39))
    assert line.get_ydata() == pytest.approx([np.mean(values[i : i + 3]) for i in range(37)])


def test_a_run_that_records_no_gradients_is_bad_input():
    with pytest.raises(BadInput, match="probes=all"):
        Training()(OneRun(MemorySink()))
    with pytest.raises(BadInput, match="study.window=0"):
        Training(window=0)


def test_the_first_step_of_adam_is_what_theory_says(tmp_path):
    run = tmp_path / "run"
    arguments = ["trainer.max_steps=4", "study.window=2", "optimizer.lr=0.003", f"hydra.run.dir={run}"]
    assert main(["experiment=training", *arguments]) == 0
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    assert summary["status"] == "agree"
    made = summary["metrics"]
    for weight, inputs in (("2.weight", 32), ("4.weight", 16)):
        assert made[f"{weight}: update ratio, very first"] == pytest.approx(0.003 * math.sqrt(3 * inputs), rel=0.1)
    assert made["loss at the first step"] == pytest.approx(math.log(10), rel=0.05)
