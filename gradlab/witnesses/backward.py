"""One forward pass on a tape, and both backward passes of it: autograd's and the handwritten one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradlab.agreement import coarsest
from gradlab.backprop import Entry, MissingRuleError, Tape, TapeError, Term
from gradlab.backprop.modules import NO_MODULE
from gradlab.graph import GraphWatch, is_leaf
from gradlab.reconcile import Reconciliation, reconcile
from gradlab.tensors import dense
from gradlab.witnesses.conventions import convention_of
from gradlab.witnesses.misshapen import misshapen_gradients
from gradlab.witnesses.problem import Problem

# The place of the weight among the arguments; the second and third output are mean and reciprocal deviation.
NORMALIZATIONS = {
    "native_layer_norm": 2,
    **dict.fromkeys(("native_group_norm", "native_batch_norm", "_native_batch_norm_legit", "cudnn_batch_norm"), 1),
}


class Backward:
    """What one forward pass and its backward passes show.

    Attributes:
        value: L.
        autograd: for each variable, what a backward pass brings to it; None where nothing.
        manual: the same by the handwritten sweep; empty where there is none.
        reconciliation: the two side by side, with the operation to blame; None where there is no sweep.
        failure: why there is no handwritten sweep; empty where there is one.
        noise: how far roundings on the way may have carried L: √Σ(ε·v·∂L/∂v)² over every number v that an operation
            made, the first-order error analysis of a computation (Higham, *Accuracy and Stability*, §3.3, with
            independent roundings); 0 where there is no sweep.
        error: what autograd raised; None where it went through.
        attached: whether L is connected with any leaf at all.
        found: leaves that the forward pass met and that are no variables.
        dtypes: every floating dtype in which an operation computed.
        has_functions: whether a custom Function is among the nodes of autograd's graph.
        operations: the names of the operations that ran.
        cuts: where the forward pass took a value out of autograd's sight, by ``detach`` or under ``no_grad``.
        conventions: operations whose gradient is by convention not the derivative.
        misshapen: gradients that a custom Function returned in another shape than its input's.
    """

    def __init__(self, problem: Problem, lines: bool = True) -> None:
        self.problem = problem
        self.autograd: dict[str, Tensor | None] = dict.fromkeys(problem.variables)
        self.manual: dict[str, Tensor | None] = {}
        self.reconciliation: Reconciliation | None = None
        self.failure = ""
        self.noise = 0.0
        self.error: Exception | None = None
        leaves = [v.tensor for v in problem.variables.values()]
        problem.settle()
        with torch.enable_grad(), Tape(lines=lines) as tape:
            loss = problem.value()
        self.value = float(loss.detach())
        self.attached = loss.requires_grad
        self.dtypes = {v.tensor.dtype for e in tape.entries for v in e.outputs if v is not None and v.is_differentiable}
        self.operations = tuple(dict.fromkeys(entry.name for entry in tape.entries))
        watch = GraphWatch(loss, leaves)
        self.functions = watch.functions
        self.has_functions = bool(self.functions)
        self.conventions = tuple(dict.fromkeys(filter(None, map(convention_of, tape.entries))))
        self.cuts = _cuts(tape, self.has_functions)
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
        self.misshapen = misshapen_gradients(watch) if self.error is None else []
        self._sweep(tape, loss, watch)

    def _run(self, loss: Tensor, leaves: list[Tensor]) -> None:
        if not self.attached:
            return
        every = [*leaves, *self.found]
        aside = [leaf.grad for leaf in every]
        for leaf in every:
            leaf.grad = None
        try:
            loss.backward(retain_graph=True)
        finally:
            for leaf, grad in zip(every, aside, strict=True):
                leaf.grad = grad

    def _sweep(self, tape: Tape, loss: Tensor, watch: GraphWatch) -> None:
        terms: list[Term] = []
        try:
            gradients = tape.backward(loss, terms=terms)
        except (TapeError, MissingRuleError) as error:
            self.failure = str(error)
            return
        self.noise = self.epsilon * _carried(terms)
        variables = self.problem.variables
        self.manual = {name: gradients.get(v.tensor) for name, v in variables.items()}
        if self.error is None:
            named = {n: v.tensor for n, v in variables.items()}
            self.reconciliation = reconcile(watch, gradients, terms, named, self._label).settled()

    def _label(self, entry: Entry) -> str:
        """The module as the user knows it: what stands around it for the sake of the check is left out."""
        label, prefix = entry.scope.label, self.problem.prefix
        if prefix and entry.scope.module is self.problem.module:
            return NO_MODULE
        return label.removeprefix(prefix)

    @property
    def epsilon(self) -> float:
        """The rounding unit of the coarsest dtype that took part."""
        dtype = coarsest(self.dtypes)
        return torch.finfo(dtype).eps if dtype is not None else torch.finfo(torch.float64).eps


def _cuts(tape: Tape, has_functions: bool) -> tuple[str, ...]:
    """Each place where a value that requires a gradient goes on without one."""
    read = {value for entry in tape.entries for value in entry.inputs}

    def is_cut(entry: Entry) -> bool:
        if not any(value.tensor.requires_grad for value in entry.inputs):
            return False
        if entry.grad_mode:  # autograd detaches what it saves for itself; nobody reads that on the way forward
            return entry.name == "detach" and any(value in read for value in entry.outputs)
        return not has_functions  # what runs inside a custom Function is the Function's business

    return tuple(dict.fromkeys(_place(entry) for entry in tape.entries if is_cut(entry)))


def _place(entry: Entry) -> str:
    module = "" if entry.scope.label == NO_MODULE else f" in module {entry.scope.label}"
    return f"{entry.name}{module}{f' ({entry.line})' if entry.line else ''}"


def _carried(terms: list[Term]) -> float:
    """√Σ(v·∂L/∂v)² over the outputs of all operations, and over what normalizations subtract inside."""
    total = 0.0
    for term in terms:
        if not term.downstream:
            continue
        for value, gradient in zip(term.entry.outputs, term.upstream, strict=True):
            if value is not None and gradient is not None:
                product = dense(value.tensor).detach().abs().double() * dense(gradient).abs().double()
                size = float(product.square().sum())
                total += size if math.isfinite(size) else 0.0
        inside = _subtracted(term)
        total += inside**2 if math.isfinite(inside) else 0.0
    return math.sqrt(total)


def _subtracted(term: Term) -> float:
    """At most √Σ(v·∂L/∂v)² for v = m·r in a normalization y = w·(x − m)·r + b, an operation by itself.

    Where x is the mean of itself, y is 0 but for a rounding of m, times r, which may be as large as the root of 1/eps.
    """
    entry, upstream = term.entry, term.upstream[0]
    if entry.name not in NORMALIZATIONS or upstream is None:
        return 0.0
    mean, r = entry.outputs[1:3]
    if mean is None or r is None or not mean.tensor.numel():  # in evaluation there are no statistics of x
        return 0.0
    weights = entry.values_at((NORMALIZATIONS[entry.name],))
    sizes = [float(v.tensor.detach().abs().max()) for v in (mean, r, *weights) if v.tensor.numel()]
    return math.prod(sizes) * float(dense(upstream).double().norm())
