"""The reverse sweep at its plainest: for a forward pass that overwrote nothing.

It is the sweep of `sweep`, less all that only writes, custom Functions, large tensors and a look at the chain rule
make necessary. A tensor object stands for its content, and its gradient waits in a dictionary by its
id. (The ids of tensors that the sweep let go of may come again, but nothing asks for theirs any more.)

For a network of small tensors the time goes to Python, not to arithmetic: hence the long loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from gradlab.backprop.downstream import (
    broken_rule,
    converted,
    fitted,
    fitted_late,
    no_rule,
    refuse_change,
    times,
    total,
)
from gradlab.backprop.gradients import Gradient
from gradlab.backprop.notes import Met, Note, Versions, tensors_in
from gradlab.backprop.rules.shapes import sum_to
from gradlab.backprop.rules.table import Op, Rule
from gradlab.backprop.values import DIFFERENTIABLE, is_leaf

# A contribution that waits: the operation, its rule, its upstream gradient, the part of the rule's answer, and what
# it is for.
PutAside = tuple[Note, Rule, Any, Callable[[], Any], Tensor]


class DirectSweep:
    """One pass over the notes of a forward pass, from the last to the first.

    Args:
        rules: the table of handwritten rules.
        met: the tensors of the forward pass.
        puts_aside: whether the gradients of data, of what entered and requires none, are finished when asked for.

    Attributes:
        leaves: by id, results that autograd takes for leaves, as of ``torch.zeros(3).requires_grad_()``.
    """

    __slots__ = ("leaves", "_rules", "_versions", "_aside", "_gradients", "_later")

    def __init__(self, rules: Mapping[Op, Rule], met: Met, puts_aside: bool) -> None:
        self.leaves: dict[int, Tensor] = {}
        self._rules = rules
        self._versions = met.versions
        self._aside: Mapping[int, Tensor] = met.sources if puts_aside else {}
        self._gradients: dict[int, Tensor] = {}
        self._later: list[PutAside] = []

    def run(self, notes: list[Note], seeds: Iterable[tuple[Tensor, Tensor]]) -> dict[int, Gradient]:
        """Passes gradients back through all operations.

        Args:
            notes: the operations; the sweep takes them off the end, so that memory is given back as it passes.
            seeds: the tensors to start from, each with its upstream gradient.

        Returns:
            By id, the gradients of the tensors that no operation made. For those put aside, functions that finish
            them.

        Raises:
            MissingRuleError: names the operation and the module.
            TapeError: where a rule fails, or gives a gradient that does not have the shape of its value.
        """
        gradients, rules, aside, later = self._gradients, self._rules, self._aside, self._later
        for output, gradient in seeds:
            self._add(output, gradient)
        try:
            while notes:
                note = notes.pop()
                known, args, kwargs, y, _, _, wanting = note
                g: Any = gradients.pop(id(y), None)
                if g is None:
                    if isinstance(y, Tensor):
                        continue
                    g, y = self._of_several(y)
                    if g is None:
                        continue
                rule = rules.get(known.op)
                if rule is None or wanting is None or known.is_shut:
                    self._end(note, g)
                    continue
                is_pointwise = rule.is_pointwise
                parts = rule.function(y, *args, **kwargs) if is_pointwise else rule.function(g, y, *args, **kwargs)
                arguments = wanting if known.has_tensors_first and not kwargs else known.groups(wanting, kwargs)
                for argument, part in zip(arguments, parts if type(parts) is tuple else (parts,)):  # noqa: B905 (0.1 µs)
                    if part is None:
                        continue
                    if not isinstance(argument, Tensor):
                        self._pass_on_each(rule, g, argument, part)
                        continue
                    key = id(argument)
                    if callable(part):
                        if key in aside and not argument.requires_grad:
                            later.append((note, rule, g, part, argument))
                            continue
                        part = part()
                        if part is None:
                            continue
                    # What follows is `fitted`, written out: this is the innermost loop.
                    if is_pointwise:
                        part = times(g, part, rule)
                    if part.shape != argument.shape:
                        part = sum_to(part, argument.shape)
                    if part.dtype is not argument.dtype:
                        if argument.dtype not in DIFFERENTIABLE:
                            self._end(note, g)
                            continue
                        part = converted(part, argument.dtype)
                    if key in gradients:
                        part = gradients[key] + part
                    gradients[key] = part
        except RuntimeError as error:
            broken_rule(error, known.op, note[4])
        found: dict[int, Gradient] = {**gradients}
        for *_, source in later:
            found[id(source)] = partial(_finished, source, gradients.get(id(source)), later, self._versions)
        return found

    def _pass_on_each(self, rule: Rule, g: Any, arguments: Any, part: Any) -> None:
        """For an argument that is a list of tensors: to each its piece; nothing for what is no tensor at all."""
        if isinstance(arguments, (list, tuple)):
            for each, piece in zip(arguments, part() if callable(part) else part, strict=True):
                if piece is not None and each is not None and each.dtype in DIFFERENTIABLE:
                    self._add(each, fitted(rule, g, piece, each))

    def _add(self, tensor: Tensor, gradient: Tensor) -> None:
        sofar = self._gradients.get(id(tensor))
        self._gradients[id(tensor)] = gradient if sofar is None else sofar + gradient

    def _of_several(self, results: Any) -> tuple[Any, Any]:
        """Upstream gradients and results of an operation that makes several; None where no gradient arrives."""
        made = tensors_in(results)
        arrived = {id(t): self._gradients.pop(id(t), None) for t in made}
        if all(g is None for g in arrived.values()):
            return None, None
        if len(results) == 1:
            return arrived[id(made[0])], made[0]
        return tuple([arrived.get(id(t)) for t in results]), tuple([t if id(t) in arrived else None for t in results])

    def _end(self, note: Note, g: Any) -> None:
        """The gradient does not pass an operation, or not to one of its arguments.

        What an operation made of no tensor that gets a gradient may be a leaf to autograd.
        """
        known, _, kwargs, result, scope, _, wanting = note
        wanted = [] if wanting is None or known.is_shut else known.tensors(wanting, kwargs)
        if any(t.dtype in DIFFERENTIABLE for t in wanted):
            if known.op not in self._rules:
                no_rule(known.op, scope)
            return
        gradients = g if isinstance(g, tuple) else (g,)  # a list of one result has no tuple either, see `_of_several`
        for tensor, gradient in zip((result,) if isinstance(result, Tensor) else result, gradients, strict=True):
            if gradient is not None and is_leaf(tensor):
                self.leaves[id(tensor)] = tensor
                self._gradients[id(tensor)] = gradient


def _finished(source: Tensor, sofar: Tensor | None, later: list[PutAside], versions: Versions) -> Tensor | None:
    """Finishes a gradient that was put aside; None for a source of integers."""
    if source.dtype not in DIFFERENTIABLE:
        return None
    recorded = versions.by_id()
    return total(sofar, [partial(_contribution, each, recorded) for each in later if each[-1] is source])


def _contribution(put_aside: PutAside, recorded: Mapping[int, int | None]) -> Tensor | None:
    (known, args, kwargs, result, scope, *_), rule, g, part, source = put_aside
    read = known.tensors(args, kwargs, rule.reads)
    if rule.reads_output:
        read += [result] if isinstance(result, Tensor) else tensors_in(result)
    for tensor in read:
        refuse_change(tensor, recorded[id(tensor)], rule, scope)
    return fitted_late(part, rule, g, source, known.op, scope)
