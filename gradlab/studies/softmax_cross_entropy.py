"""Why the gradient of softmax and cross entropy by the logits is p − y, and why the two are computed in one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from gradlab.backprop import Breakdown, Tape, Term
from gradlab.errors import BadInput
from gradlab.losses import CrossEntropy
from gradlab.nonfinite import explain_gradient
from gradlab.studies.base import Findings, Setting
from gradlab.studies.landscape import named
from gradlab.studies.softmax_apart import EPSILON, WAYS, Apart, apart, logits_at
from gradlab.studies.witnessed import gradients, worst_errors

LOGITS = "study.logits: give two numbers or more for a sample, or a list of such lists, all of one length"
IN_WORDS = {
    "nll_loss": "is −ln p of the right class: its derivative by that ln p is −1, by all others 0",
    "log_softmax": "makes ln p of the logits: the derivative of ln pᵢ is 1 − pᵢ by its own logit zᵢ, −pⱼ by another zⱼ",
}
FADING = 20.0  # a lead at which the small number added has taken most of the gradient


@dataclass(frozen=True, slots=True)
class Sample:
    """One sample: what the network says, what is true, and the gradient.

    Attributes:
        logits, p, y: the network's outputs, their softmax, and the target's distribution, [C] each.
        gradient: autograd's ∂L/∂z, [C].
        count: of the samples in the batch, over which the loss is the mean.
    """

    logits: np.ndarray
    p: np.ndarray
    y: np.ndarray
    gradient: np.ndarray
    count: int


class SoftmaxCrossEntropy:
    """The gradient by the logits in every way, and what float32 makes of softmax and log apart.

    Args:
        logits: of one sample, or of each sample in a batch.
        labels: the class of each sample, from 0.
        label_smoothing: the share of each target that is spread over all classes.
        largest_lead: how far behind the label falls in the second picture.
        shown_at: the lead at which the terminal shows what became of every way.
    """

    def __init__(
        self,
        logits: Sequence[Any] = (2.0, 1.0, -1.0, 0.5),
        labels: Any = 1,
        label_smoothing: float = 0.0,
        largest_lead: float = 150.0,
        shown_at: float = 100.0,
    ) -> None:
        self._logits = _matrix(logits)
        self._labels = np.atleast_1d(np.array(labels))
        self._smoothing, self._shown_at = float(label_smoothing), float(shown_at)
        self._leads = np.arange(0.0, float(largest_lead) + 1)
        self._check()

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import softmax_cross_entropy as picture  # matplotlib is slow to import

        z, labels = torch.from_numpy(self._logits), torch.from_numpy(self._labels)
        loss = CrossEntropy(label_smoothing=self._smoothing)
        p, y = softmax(self._logits), targets(self._labels, self._logits.shape[1], self._smoothing)
        found = named(gradients(lambda logits: loss(logits, labels), z))
        found["p − y" if len(p) == 1 else "(p − y) / N"] = (p - y) / len(p)
        log_p = self._logits - np.logaddexp.reduce(self._logits, axis=1, keepdims=True)
        losses = {"autograd": np.array(float(loss(z, labels))), "−Σ y ln p": np.array(-(y * log_p).sum(axis=1).mean())}
        sample = Sample(self._logits[0], p[0], y[0], found["autograd"][0], len(p))
        by_ways = apart(self._leads)
        label = int(self._labels[0])
        return Findings(
            numbers={
                "loss": float(losses["autograd"]),
                "p of the label": float(p[0, label]),
                "gradient of the label": float(found["autograd"][0, label]),
                "sum of the gradient": abs(float(found["autograd"].sum())),
                **_numbers_apart(by_ways),
            },
            title="cross entropy of logits z: p = softmax(z), y the target, and ∂L/∂z by every witness",
            rows=_rows(self._logits, p, y, found),
            text=f"{_chain(loss, z, labels)}\n\n{_failures(self._shown_at)}",
            figures={"softmax_cross_entropy": picture.figure(sample), "apart": picture.apart(by_ways)},
            errors={**worst_errors(found, 1 / len(p)), **worst_errors(losses, 1.0)},
        )

    def _check(self) -> None:
        z, labels = self._logits, self._labels
        if z.ndim != 2 or z.shape[1] < 2 or not np.isfinite(z).all():
            raise BadInput(LOGITS)
        if labels.shape != z.shape[:1] or labels.dtype.kind != "i":
            raise BadInput(
                f"study.labels={self._labels.tolist()}: give a whole number for each sample, {len(z)} in all"
            )
        if labels.min() < 0 or labels.max() >= z.shape[1]:
            raise BadInput(f"study.labels={self._labels.tolist()}: classes are numbered from 0 to {z.shape[1] - 1}")
        if not 0 <= self._smoothing <= 1:
            raise BadInput(f"study.label_smoothing={self._smoothing:g}: give a number from 0 to 1")
        if not FADING <= self._leads[-1] <= 10_000:
            raise BadInput(f"study.largest_lead={self._leads[-1]:g}: give a number from {FADING:g} to 10000")


def _matrix(logits: Sequence[Any]) -> np.ndarray:
    """One row for each sample."""
    try:
        return np.atleast_2d(np.array(logits, dtype=np.float64))
    except (ValueError, TypeError):
        raise BadInput(LOGITS) from None


def softmax(z: np.ndarray) -> np.ndarray:
    """pᵢ = exp zᵢ / Σⱼ exp zⱼ along the last axis.

    Example:
        >>> softmax(np.log([1.0, 3.0])).round(9).tolist()
        [0.25, 0.75]
    """
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def targets(labels: np.ndarray, classes: int, smoothing: float) -> np.ndarray:
    """The distribution that each sample's p is compared with: [N] to [N, C].

    Example:
        >>> targets(np.array([1]), 2, 0.0).tolist(), targets(np.array([1]), 2, 0.5).tolist()
        ([[0.0, 1.0]], [[0.25, 0.75]])
    """
    return np.asarray((1 - smoothing) * np.eye(classes)[labels] + smoothing / classes)


def _rows(z: np.ndarray, p: np.ndarray, y: np.ndarray, found: dict[str, np.ndarray]) -> list[Sequence[str]]:
    columns = {"z": z, "p": p, "y": y, **found}
    names = {(n, c): f"{c}" if len(z) == 1 else f"{c} of sample {n}" for n, c in np.ndindex(*z.shape)}
    cells = [(name, *(f"{column[place]:.6f}" for column in columns.values())) for place, name in names.items()]
    return [("class", *columns), *cells]


def _chain(loss: CrossEntropy, z: torch.Tensor, labels: torch.Tensor) -> str:
    """What the handwritten sweep does, operation by operation, from the loss down."""
    terms: list[Term] = []
    z = z.clone().requires_grad_()
    with Tape() as tape:
        value = loss(z, labels)
    tape.backward(value, terms=terms)
    lines = ["the handwritten chain, from the loss down to the logits:"]
    for term in Breakdown.of(terms).terms:
        passed = [i.downstream.numbers for i in term.inputs if i.downstream is not None]
        words = IN_WORDS.get(term.operation, f"has the local derivative {term.local}")
        lines += [f"  {term.operation} {words}\n    passes on {_written(n)}" for n in passed if n is not None]
    return "\n".join(lines)


def _written(numbers: Any) -> str:
    return "(" + ", ".join(f"{number:.4g}" for number in np.ravel(numbers)) + ")"


def _numbers_apart(found: Apart) -> dict[str, float]:
    hand, naive, safe, fused = found.ways
    p = 1 / (1 + np.exp(FADING))
    return {
        "lead at which exp divide log fails": hand.fails_from(found.leads),
        "lead at which softmax then log fails": naive.fails_from(found.leads),
        "ln of the largest float32": float(np.log(np.finfo(np.float32).max)),
        "slope at a lead of 20 with 1e-8 added": float(safe.gradients[int(FADING)]),
        "the same in theory": float(-p * (1 - p) / (p + EPSILON)),
        "slope at the largest lead in one": float(fused.gradients[-1]),
        "worst error of the slope in one": float(np.abs(fused.gradients - found.gradients).max()),
    }


def _failures(lead: float) -> str:
    found = apart(np.array([lead]))
    truth = f"the loss is {found.losses[0]:g}, its slope {found.gradients[0]:g}"
    lines = [f"two classes in float32, the logit of the right one {lead:g} behind: {truth}"]
    for way in found.ways:
        line = f"  {way.name}: loss {way.losses[0]:g}, slope {way.gradients[0] + 0.0:g}"
        lines.append(line if np.isfinite(way.gradients[0]) else f"{line} (not a number): {_birth(way.name, lead)}")
    return "\n".join(lines)


def _birth(name: str, lead: float) -> str:
    """Where a gradient ceased to be finite, in plain words."""
    said = explain_gradient(lambda: WAYS[name](logits_at(lead)))
    found = re.search(r"passed on by (\w+) .*min (\S+), max", said)
    if found is None:
        return said
    operation, smallest = found.groups()
    if smallest == "nan":
        return f"{operation} is given a p that is nan already, infinity / infinity"
    return f"{operation} is given p = {float(smallest):.2g}, and 1/p is infinite"
