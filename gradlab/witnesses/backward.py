"""One forward pass on a tape, and both backward passes of it: autograd's and the handwritten one."""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.agreement import coarsest
from gradlab.backprop import MissingRuleError, Tape, TapeError, Term
from gradlab.graph import GraphWatch, is_leaf
from gradlab.reconcile import Reconciliation, reconcile
from gradlab.witnesses.problem import Problem


class Backward:
    """What one forward pass and its backward passes show.

    Attributes:
        value: L.
        autograd: for each variable, what a backward pass brings to it; None where nothing.
        manual: the same by the handwritten sweep; empty where there is none.
        reconciliation: the two side by side, with the operation to blame; None where there is no sweep.
        failure: why there is no handwritten sweep; empty where there is one.
        error: what autograd raised; None where it went through.
        attached: whether L is connected with any leaf at all.
        found: leaves that the forward pass met and that are no variables.
        dtypes: every floating dtype in which an operation computed.
        operations: the names of the operations that ran.
    """

    def __init__(self, problem: Problem, lines: bool = True) -> None:
        self.problem = problem
        self.autograd: dict[str, Tensor | None] = dict.fromkeys(problem.variables)
        self.manual: dict[str, Tensor | None] = {}
        self.reconciliation: Reconciliation | None = None
        self.failure = ""
        self.error: Exception | None = None
        leaves = [v.tensor for v in problem.variables.values()]
        with torch.enable_grad(), Tape(lines=lines) as tape:
            loss = problem.value()
        self.value = float(loss.detach())
        self.attached = loss.requires_grad
        self.dtypes = {v.tensor.dtype for e in tape.entries for v in e.outputs if v is not None and v.is_differentiable}
        self.operations = tuple(dict.fromkeys(entry.name for entry in tape.entries))
        watch = GraphWatch(loss, leaves)
        met = [*(n.variable for n in watch.nodes if is_leaf(n)), *(t for t in tape.sources.values() if t.requires_grad)]
        known = {id(t) for t in leaves}
        self.found = list({id(t): t for t in met if t.is_leaf and id(t) not in known}.values())
        try:
            self._run(loss, leaves)
        except Exception as error:  # whatever a backward of the user's raises is a finding
            self.error = error
        finally:
            watch.close()
        arrived = {id(leaf): gradient for leaf, gradient in watch.leaf_gradients()}
        for name, variable in problem.variables.items():
            gradient = arrived.get(id(variable.tensor))
            self.autograd[name] = None if gradient is None else gradient.detach()
        self._sweep(tape, loss, watch)

    def _run(self, loss: Tensor, leaves: list[Tensor]) -> None:
        if not self.attached:
            return
        try:
            loss.backward(retain_graph=True)
        finally:
            for leaf in [*leaves, *self.found]:
                leaf.grad = None

    def _sweep(self, tape: Tape, loss: Tensor, watch: GraphWatch) -> None:
        terms: list[Term] = []
        try:
            gradients = tape.backward(loss, terms=terms)
        except (TapeError, MissingRuleError) as error:
            self.failure = str(error)
            return
        variables = self.problem.variables
        self.manual = {name: gradients.get(v.tensor) for name, v in variables.items()}
        if self.error is None:
            self.reconciliation = reconcile(watch, gradients, terms, {n: v.tensor for n, v in variables.items()})

    @property
    def epsilon(self) -> float:
        """The rounding unit of the coarsest dtype that took part."""
        dtype = coarsest(self.dtypes)
        return torch.finfo(dtype).eps if dtype is not None else torch.finfo(torch.float64).eps
