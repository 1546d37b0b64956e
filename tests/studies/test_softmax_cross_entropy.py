"""p − y against SciPy's softmax and sympy's derivatives; and softmax and log apart against what float32 can hold."""

import numpy as np
import pytest
import scipy.special
import sympy
import torch

from gradlab.errors import BadInput
from gradlab.studies.softmax_apart import WAYS, apart, logits_at
from gradlab.studies.softmax_cross_entropy import SoftmaxCrossEntropy, softmax, targets


def found_with(**arguments):
    return SoftmaxCrossEntropy(**arguments)(None)


def column(found, name):
    heading, *rows = found.rows
    return np.array([float(row[heading.index(name)]) for row in rows])


def test_the_gradient_is_what_sympy_differentiates():
    z = sympy.symbols("z:4")
    loss = -z[1] + sympy.log(sum(map(sympy.exp, z)))
    at = dict(zip(z, [2.0, 1.0, -1.0, 0.5], strict=True))
    found = found_with()
    assert column(found, "autograd") == pytest.approx([float(loss.diff(s).subs(at)) for s in z], abs=1e-6)
    assert found.numbers["loss"] == pytest.approx(float(loss.subs(at)), rel=1e-12)
    assert found.numbers["gradient of the label"] == pytest.approx(scipy.special.softmax([2, 1, -1, 0.5])[1] - 1)
    assert set(found.errors) == {"handwritten", "numeric", "p − y", "−Σ y ln p"}
    assert max(found.errors.values()) < found.tolerance


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_a_batch_has_its_mean_and_smoothing_its_target(smoothing):
    z = np.array([[2.0, 1.0, -1.0], [0.0, 3.0, 0.5]])
    found = found_with(logits=z.tolist(), labels=[1, 2], label_smoothing=smoothing)
    y = np.array([[0, 1, 0], [0, 0, 1]]) * (1 - smoothing) + smoothing / 3
    assert column(found, "autograd") == pytest.approx(((scipy.special.softmax(z, axis=1) - y) / 2).ravel(), abs=1e-6)
    assert found.numbers["loss"] == pytest.approx(-(y * scipy.special.log_softmax(z, axis=1)).sum() / 2)
    assert {"(p − y) / N", "handwritten"} < set(found.errors)
    assert max(found.errors.values()) < found.tolerance


@pytest.mark.parametrize(("logits", "label"), [([200.0, 0.0], 0), ([2000.0, 0.0], 1), ([0.0, 0.0, 0.0], 2)])
def test_extreme_logits_agree(logits, label):
    found = found_with(logits=logits, labels=label)
    assert max(found.errors.values()) < found.tolerance


def test_a_wrong_closed_form_is_noticed(monkeypatch):
    monkeypatch.setattr(
        "gradlab.studies.softmax_cross_entropy.softmax", lambda z: np.exp(z) / (np.exp(z).sum(-1, keepdims=True) + 1e-4)
    )
    found = found_with()
    assert found.errors["p − y"] > found.tolerance


def test_softmax_and_targets():
    z = np.array([[1000.0, 999.0], [-3.0, 4.0]])
    assert softmax(z) == pytest.approx(scipy.special.softmax(z, axis=1))
    smooth = torch.nn.CrossEntropyLoss(label_smoothing=0.3)  # its gradient at equal logits is 1/C − y
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    smooth(logits, torch.tensor([2])).backward()
    assert targets(np.array([2]), 4, 0.3) == pytest.approx(0.25 - logits.grad.numpy())


def test_only_the_way_in_one_is_right_everywhere():
    leads = np.arange(0.0, 201.0)
    found = apart(leads)
    hand, naive, safe, fused = found.ways
    assert found.losses == pytest.approx(-scipy.special.log_softmax(np.stack([leads, 0 * leads]), axis=0)[1])
    assert found.gradients == pytest.approx(-scipy.special.expit(leads))
    assert fused.losses == pytest.approx(found.losses, rel=1e-6)
    assert fused.gradients == pytest.approx(found.gradients, rel=1e-6)
    for way in (hand, naive):  # where e^z overflows, and where 1/p does; some processors have no smaller p than 1e-38
        assert way.fails_from(leads) in (88, 89)
        assert way.gradients[:87] == pytest.approx(found.gradients[:87], rel=1e-5)
    p = scipy.special.expit(-leads)
    assert safe.gradients == pytest.approx(-p * (1 - p) / (p + 1e-8), rel=1e-4, abs=1e-30)
    assert np.isnan(safe.fails_from(leads))


def test_every_way_is_cross_entropy_where_nothing_is_large():
    expected = torch.nn.functional.cross_entropy(logits_at(3.0)[None], torch.tensor([1]))
    for loss in WAYS.values():
        assert torch.allclose(loss(logits_at(3.0)), expected, rtol=1e-5)


def test_the_text_says_where_nan_was_born():
    text = found_with().text
    assert "nll_loss is −ln p of the right class" in text
    assert "passes on (0, -1, 0, 0)" in text
    assert "log_softmax makes ln p of the logits" in text
    assert text.count("log is given") == 2
    assert "a p that is nan already" in text
    assert "and 1/p is infinite" in text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"logits": [1.0]}, "study.logits"),
        ({"logits": [[1.0, 2.0], [3.0]]}, "study.logits"),
        ({"logits": [1.0, np.inf]}, "study.logits"),
        ({"labels": 4}, "from 0 to 3"),
        ({"labels": -1}, "from 0 to 3"),
        ({"labels": 0.5}, "study.labels"),
        ({"labels": [0, 1]}, "study.labels"),
        ({"label_smoothing": 1.5}, "study.label_smoothing"),
        ({"largest_lead": 5}, "study.largest_lead"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, word):
    with pytest.raises(BadInput, match=word):
        SoftmaxCrossEntropy(**arguments)
