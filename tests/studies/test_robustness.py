"""Success rates: their intervals against SciPy's, their counts against closed forms, and what cannot be counted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from gradlab.cli import main
from gradlab.errors import BadInput
from gradlab.figures import robustness as picture
from gradlab.loading import load
from gradlab.losses import Himmelblau, Quadratic
from gradlab.records import Array, Hparams
from gradlab.sinks import MemorySink
from gradlab.studies.base import Finished
from gradlab.studies.rate import Rate
from gradlab.studies.robustness import Results, Robustness, Trial, trial_of

# --- intervals ----------------------------------------------------------------------------------------------------


@given(tries=st.integers(1, 10_000), share=st.floats(0, 1))
def test_the_interval_is_scipys(tries, share):
    successes = round(share * tries)
    expected = binomtest(successes, tries).proportion_ci(confidence_level=0.95, method="wilson")
    np.testing.assert_allclose(Rate(successes, tries).interval, expected, rtol=1e-9, atol=1e-12)


def test_no_success_leaves_room_for_some():
    low, high = Rate(0, 1000).interval
    assert low == pytest.approx(0, abs=1e-15)
    assert high == pytest.approx(1.959964**2 / (1000 + 1.959964**2))  # z² / (n + z²)
    assert str(Rate(0, 1000)) == "0 (0–0)"


def test_rates_over_all_surfaces_are_those_of_all_tries():
    def trial(surface, successes):
        return Trial("sgd", surface, Rate(successes, 10), 1, None)

    results = Results({"sgd": 0.1}, ["a", "b"], {("sgd", n): trial(n, k) for n, k in (("a", 3), ("b", 9))}, 5)
    assert results.overall("sgd") == Rate(12, 20)
    assert results.diverged("sgd") == Rate(2, 20)


# --- a run --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three optimizers on a bowl and a round one's neighbour, 50 starts and 25 steps each."""
    folder = tmp_path_factory.mktemp("robustness") / "run"
    rates = "study.rates={sgd:0.16,adam:0.3,momentum:0.5}"
    small = ["model.population=50", "trainer.max_steps=25", "study.surfaces=[quadratic,booth]"]
    assert main(["experiment=robustness", "~study.rates", f"+{rates}", *small, f"hydra.run.dir={folder}"]) == 0
    return folder, json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def test_who_is_counted_is_who_arrives_by_the_closed_form(made):
    folder, summary = made
    starts = load(folder / "sgd_on_quadratic").memory().arrays("snapshot/theta")[1][0]
    ends = starts * (1 - 0.16 * np.array([1.0, 10.0])) ** 25  # of ½ (x² + 10 y²)
    expected = float((np.linalg.norm(ends, axis=1) <= 0.01).mean())
    assert 0.1 < expected < 0.9
    assert summary["metrics"]["sgd on quadratic"] == pytest.approx(expected)
    assert starts.shape == (50, 2)
    assert np.abs(starts).max() <= 1.5


def test_all_optimizers_have_the_same_starts(made):
    folder, _ = made
    starts = [load(folder / name).memory().arrays("snapshot/theta")[1][0] for name in ("sgd_on_booth", "adam_on_booth")]
    np.testing.assert_array_equal(*starts)


def test_what_the_run_says(made):
    folder, summary = made
    numbers = summary["metrics"]
    # Beyond 2/18 on booth gradient descent grows by |1 − 0.16 · 18| = 1.88 a step: 1.88²⁵ is large, and finite.
    assert (numbers["sgd on booth"], numbers["diverged, sgd"]) == (0.0, 0.0)
    assert numbers["found, adam"] == pytest.approx((numbers["adam on quadratic"] + numbers["adam on booth"]) / 2)
    count = round(numbers["found, adam"] * 100)
    expected = binomtest(count, 100).proportion_ci(method="wilson")
    assert (numbers["from, adam"], numbers["to, adam"]) == pytest.approx((expected.low, expected.high))
    assert numbers["descended again"] + numbers["left to rounding"] == 6
    assert summary["status"] == "agree"
    assert (folder / "robustness.png").is_file()


# --- what is noticed ----------------------------------------------------------------------------------------------


def finished(surface, metrics, **settings):
    """One step of gradient descent with learning rate 0.1 on two points, whatever the settings say."""
    starts = np.array([[1.0, 1.0], [-1.0, 0.5]])
    memory = MemorySink()
    memory.write([Array("snapshot/theta", 0, starts)])
    memory.write([Hparams({"optimizer": "sgd", "optimizer.lr": 0.1, **settings}, {})])
    model = torch.nn.Module()
    ends = [start - 0.1 * surface.gradient_at(start) for start in starts]
    model.theta = torch.nn.Parameter(torch.tensor(np.array(ends)))
    return Finished("sgd on it", "agree", metrics, memory, model, surface, Path())


METRICS = {"reached": 0.5, "members": 2, "diverged": 1, "steps": 1}


def test_a_learning_rate_that_is_not_the_one_said_is_noticed():
    right = trial_of(finished(Himmelblau(), METRICS), "sgd", "himmelblau")
    wrong = trial_of(finished(Himmelblau(), METRICS, **{"optimizer.lr": 0.101}), "sgd", "himmelblau")
    assert (right.found, right.diverged) == (Rate(1, 2), 1)
    assert right.witness.error < 1e-12
    assert wrong.witness.error > 1e-3


def test_a_surface_without_a_minimizer_is_refused():
    with pytest.raises(BadInput, match="leave out the surface saddle, which has none"):
        trial_of(finished(Himmelblau(), {"members": 2, "steps": 1}), "sgd", "saddle")


def test_starts_that_nobody_recorded_are_asked_for():
    run = finished(Quadratic(), METRICS)
    bare = Finished(run.name, run.status, run.metrics, MemorySink(), run.model, run.loss, run.folder)
    with pytest.raises(BadInput, match=r"choose 'probes=\[agreement,snapshots\]'"):
        trial_of(bare, "sgd", "quadratic")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({}, ["quadratic"]), "at least one optimizer and one surface"),
        (({"sgd": 0.1}, []), "at least one optimizer and one surface"),
        (({"sgd": 0.1}, ["quadratic"], 0.0), "study.scale=0.0: give a number above 0"),
    ],
)
def test_settings_that_ask_nothing_are_refused(arguments, message):
    with pytest.raises(BadInput, match=message):
        Robustness(*arguments)


def test_the_picture_ranks_and_says_the_percentages():
    counts = {("slow", "a"): 3, ("slow", "b"): 0, ("fast", "a"): 9, ("fast", "b"): 10}
    trials = {(o, s): Trial(o, s, Rate(k, 10), 0, None) for (o, s), k in counts.items()}
    left, right = picture.figure(Results({"slow": 0.1, "fast": 0.2}, ["a", "b"], trials, 7)).axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["fast\nlr = 0.2", "slow\nlr = 0.1"]
    assert [label.get_text() for label in right.get_yticklabels()] == ["fast", "slow"]
    texts = {(text.get_position()[0], text.get_text()) for text in left.texts}
    assert {(0, "90"), (1, "100"), (0, "30"), (1, "0"), (0, "60–98")} <= texts
