"""Two backward passes side by side, node by node: manual against autograd.

Autograd numbers the nodes of its graph as it makes them, and the tape wrote the same number beside each operation.
`GraphWatch` listens to every node during ``loss.backward()``: what came in from above, what went out below.
`reconcile` compares the gradients of the leaves; where they differ, `Blame` names the culprit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

from torch import Tensor

from gradlab.agreement import Agreement, Pair, coarsest, compare
from gradlab.backprop import Entry, Gradients, Term
from gradlab.backprop.sweep import Terms
from gradlab.blame import Blame, Culprit, Passed
from gradlab.graph import GraphWatch
from gradlab.rounding import is_rounding

ROUNDING = (
    "every operation agrees, given the same upstream gradient: what is left is rounding that cancellation has magnified"
)

__all__ = ["Culprit", "GraphWatch", "Passed", "Reconciliation", "reconcile"]


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """Manual against autograd for one backward pass.

    Attributes:
        agreements: one comparison for each parameter, and for each other leaf that autograd reached.
        culprit: the operation to blame; None where all agree, or where no single operation explains the difference.
        note: said instead of a culprit.
        unmatched: the names of autograd's nodes that passed a gradient and for which the tape has no operation.
    """

    agreements: dict[str, Agreement]
    culprit: Culprit | None = None
    note: str = ""
    unmatched: tuple[str, ...] = ()
    _source: _Source | None = field(default=None, repr=False, compare=False)

    def pair(self, name: str) -> Pair:
        """The handwritten gradient and autograd's of a parameter or leaf in ``agreements``; None: not reached."""
        return (None, None) if self._source is None else self._source.pairs.get(name, (None, None))

    def by_operation(self) -> dict[Entry, Passed]:
        """What each operation passes down, manual against autograd: of its downstream gradients the one worst off.

        Operations of one node of autograd's share its comparison; those for which autograd has no node have none. Ask
        before the gradients are changed.
        """
        return {} if self._source is None else self._source.every()

    def settled(self) -> Reconciliation:
        """The same in words and numbers alone, for whoever keeps it: it holds on to no tensor of the two passes."""
        return replace(self, _source=None)

    @property
    def ok(self) -> bool:
        return all(a.ok for a in self.agreements.values())

    @property
    def worst(self) -> Agreement | None:
        return max(self.agreements.values(), key=lambda a: a.error, default=None)


def reconcile(
    watch: GraphWatch,
    gradients: Gradients,
    terms: Sequence[Term],
    parameters: Mapping[str, Tensor],
    label: Callable[[Entry], str] = lambda entry: entry.scope.label,
) -> Reconciliation:
    """Compares the sweep with autograd's backward pass of the same forward pass.

    Args:
        watch: listened to autograd's backward pass.
        gradients, terms: the result of the sweep.
        parameters: the tensors to compare, by name.
        label: the module path to print for a recorded operation.

    Returns:
        The comparison for every parameter and every other leaf, and the culprit where they do not all agree.
    """
    pairs = _leaf_pairs(watch, gradients, parameters)
    agreements = compare(pairs)
    unmatched = _unmatched(watch, terms)
    through = None
    if not all(a.ok for a in agreements.values()):  # in mixed precision, the gradients' own dtype promises too much
        through = coarsest({g.dtype for term in terms for g in term.upstream if g is not None})
        agreements = compare(pairs, through)

    source = _Source(pairs, unmatched, partial(Blame, watch, terms, label, through))
    if all(a.ok for a in agreements.values()):
        return Reconciliation(agreements, unmatched=unmatched, _source=source)
    if source.is_rounding:
        explained = {name: _explained(a) for name, a in agreements.items()}
        return Reconciliation(explained, note=ROUNDING, _source=source)
    culprit = source.blame.culprit()
    note = "" if culprit else _without_culprit(unmatched, watch)
    return Reconciliation(agreements, culprit, note, unmatched, source)


class _Source:
    """The two backward passes that were compared, and what is found out of them only when asked for.

    Args:
        pairs: of each leaf, the handwritten gradient and autograd's.
        unmatched: as in `Reconciliation`.
        make: the two passes node by node.
    """

    def __init__(self, pairs: Mapping[str, Pair], unmatched: tuple[str, ...], make: Callable[[], Blame]) -> None:
        self.pairs = pairs
        self._unmatched = unmatched
        self._make = make

    @cached_property
    def blame(self) -> Blame:
        return self._make()

    @cached_property
    def is_rounding(self) -> bool:
        """Whether whatever differs does so by rounding alone."""
        return not self._unmatched and is_rounding(self.blame)

    def every(self) -> dict[Entry, Passed]:
        """See `Reconciliation.by_operation`."""
        found = self.blame.every()
        if all(passed.agreement.ok for passed in found.values()) or not self.is_rounding:
            return found
        return {entry: replace(passed, agreement=_explained(passed.agreement)) for entry, passed in found.items()}


def _explained(agreement: Agreement) -> Agreement:
    """The same where rounding is known to explain all of it."""
    return replace(agreement, tolerance=max(agreement.tolerance, agreement.error))


def _leaf_pairs(watch: GraphWatch, gradients: Gradients, parameters: Mapping[str, Tensor]) -> dict[str, Pair]:
    arrived = {id(leaf): (leaf, gradient) for leaf, gradient in watch.leaf_gradients()}
    pairs = {name: (gradients.get(p), arrived.get(id(p), (p, None))[1]) for name, p in parameters.items()}
    known = {id(p) for p in parameters.values()}
    for key, (leaf, gradient) in arrived.items():
        if key not in known:
            name = f"leaf {len(pairs) - len(parameters)} of shape {tuple(leaf.shape)}"
            pairs[name] = (gradients.get(leaf), gradient)
    return pairs


def _unmatched(watch: GraphWatch, terms: Sequence[Term]) -> tuple[str, ...]:
    recorded = terms.numbers if isinstance(terms, Terms) else {term.entry.number for term in terms}
    missing = [n for n in watch.operations if n._sequence_nr() not in recorded and _is_passed(watch.upstream.get(n))]
    # Where a derivative is 0 everywhere autograd may send zeros on, and the tape nothing at all.
    return tuple(n.name() for n in missing if any(g is not None and bool(g.any()) for g in watch.downstream[n]))


def _is_passed(incoming: tuple[Tensor | None, ...] | None) -> bool:
    return incoming is not None and any(g is not None for g in incoming)


def _without_culprit(unmatched: tuple[str, ...], watch: GraphWatch) -> str:
    if unmatched:
        return f"the tape recorded no operation for autograd's {', '.join(dict.fromkeys(unmatched))}"
    if watch.functions:
        return (
            "no operation could be told apart as the one to blame: check each custom Function that takes part by "
            f"itself ({', '.join(watch.functions)}), and look for hooks that change a gradient"
        )
    return (
        "every operation agrees by itself: the gradient was changed on its way between two of them, "
        "by a hook on a tensor or by an operation that the tape did not see"
    )
