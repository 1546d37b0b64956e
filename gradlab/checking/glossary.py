"""What the words in a report mean, and whether they ask for something to be done: each is explained once a report."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from gradlab.checking.findings import Finding
from gradlab.checking.grouping import ORDER

MEANING = {
    "wrong": "what PyTorch gives here is not the derivative of what the forward pass computes. Mend it, unless it is "
    "meant to differ (a detach, a hook that scales gradients).",
    "nondeterministic": "the same call, with the same random seed and buffers, gave another answer, so that there is "
    "nothing to compare. Make it repeatable (seed the generator that it draws from, put back the state that it keeps) "
    "and check again.",
    "precision": "the formula is right, as a float64 copy shows; in the dtype of the tensors, rounding or overflow "
    "makes another number of it. Where that matters, compute in a higher precision, or in another way.",
    "kink": "the function has no single slope at this point, such as relu at 0: autograd gives one of those that it "
    "could have. Nothing to do.",
    "not differentiable": "PyTorch has no derivative for something on the way, and says so. Nothing is wrong, but "
    "nothing can be learned through it either.",
    "not reached": "the result does not depend on this tensor, and its gradient is None. Nothing to do, unless it "
    "ought to be used.",
    "agree": "every witness that was asked gives the same number as autograd, up to rounding. Nothing to do.",
}
WHAT_IS_L = (
    "the scalar that is differentiated: the loss, or where none is given a fixed random projection of the outputs "
    "(each number in them times ±1 to ±1½, added up)"
)
WITNESSES = {
    "autograd": "is PyTorch's backward pass",
    "manual": "is gradlab's own, by handwritten rules for each operation of the forward pass",
    "numeric": "moves an entry and looks at how the result changes (± its own error)",
    "forward": "is PyTorch's forward mode",
    "complex_step": "moves an entry along the imaginary axis",
    "symbolic": "is computer algebra",
    "directions": "is numeric with all entries moved at once, in random directions",
}


def meanings(findings: Sequence[Finding], lines: Iterable[str]) -> list[str]:
    """What the words in a report mean: the verdicts that occur, then the witnesses, then L.

    Args:
        findings: those of the report.
        lines: what else it says.

    Example:
        >>> print(*meanings([Finding("x", "input", (3,), "float64", "not reached")], ["with L times 2"]), sep=chr(10))
        not reached: the result does not depend on this tensor, and its gradient is None. Nothing to do, unless it ...
        L: the scalar that is differentiated: the loss, or ...
    """
    verdicts = [v for v in ORDER if any(f.verdict == v for f in findings)]
    found = [f"{verdict}: {MEANING[verdict]}" for verdict in verdicts]
    asked = {name for f in findings for name in (*f.numbers, *f.compared)}
    met = [name for name in WITNESSES if name in asked or name == "autograd"]
    if len(met) > 1:
        found.append(f"witnesses: {'; '.join(f'{name} {WITNESSES[name]}' for name in met)}")
    has_numbers = any(f.numbers for f in findings if f.verdict != "agree")
    if has_numbers or any(re.search(r"\bL\b", line) for line in (*found, *lines)):
        found.append(f"L: {WHAT_IS_L}")
    return found
