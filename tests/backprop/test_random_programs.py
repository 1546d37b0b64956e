"""Random programs of views, writes, uses and custom Functions, compared with autograd leaf by leaf and node by node.

A program is a seed. What autograd refuses is skipped. Programs without stops have a second oracle, which does not mind
that a content was overwritten after it was read: `torch.func.functionalize` turns them into programs without views and
writes, and autograd differentiates those. (`test_mutation` has smaller programs, which Hypothesis shrinks.)
"""

from random import Random

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.func import functionalize

from gradlab.backprop import Tape, TapeError

BLOCKS = pytest.mark.parametrize("block", range(5))


# --- custom Functions, each with its own derivative ---------------------------------------------------------


class Twice(Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2


class InPlace(Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(3).add_(1)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx, g):
        return g * 3


class WritesInside(Function):
    """y = 2x + 1, with y₀ = 10x₀ + 1, by way of a view and of ``detach()``."""

    @staticmethod
    def forward(ctx, x):
        y = x.clone()
        y.view(-1)[0] *= 5
        y.mul_(2)
        y.detach().add_(1)
        return y * 1

    @staticmethod
    def backward(ctx, g):
        g = (g * 2).contiguous()
        g.view(-1)[0] *= 5
        return g


class GradInside(Function):
    @staticmethod
    def forward(ctx, x):
        with torch.enable_grad():
            inner = x.detach().requires_grad_()
            y = inner.sin() * 2
            y.mul_(3)
        ctx.save_for_backward(inner)
        return y.detach()

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0].cos() * 6


class Same(Function):
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g


class Flat(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.shape = x.shape
        return x.reshape(-1)

    @staticmethod
    def backward(ctx, g):
        return g.reshape(ctx.shape)


FUNCTIONS = [Twice, InPlace, WritesInside, GradInside, Same, Flat]


# --- the steps of a program ---------------------------------------------------------------------------------


def view_of(random: Random, t: Tensor) -> Tensor:
    dim = random.randrange(max(t.dim(), 1))
    choices = [lambda: t.unsqueeze(0)]
    if t.dim():
        choices += [lambda: t.select(dim, random.randrange(t.shape[dim])), lambda: t.transpose(0, -1)]
        if t.shape[dim] > 1:
            start = random.randrange(2)
            choices += [lambda: t.narrow(dim, start, t.shape[dim] - 1), lambda: t.unbind(dim)[0]]
        if t.shape[0] == 1:
            choices += [lambda: t.squeeze(0), lambda: t.expand(3, *t.shape[1:])]
    if t.dim() == 2:
        choices.append(t.diagonal)
    return random.choice(choices)()


def write(random: Random, t: Tensor, other: Tensor, w: Tensor) -> None:
    same = other if other.shape == t.shape else other.sum()
    choices = [
        lambda: t.mul_(0.7),
        lambda: t.add_(0.3),
        t.zero_,
        lambda: t.copy_(same),
        lambda: t.add_(same),
        lambda: t.mul_(same),
        t.neg_,
        t.tanh_,
        lambda: t.mul_(t),
        lambda: t.masked_fill_(t.detach() > 0.2, 0.4),
    ]
    if t.dim():
        choices += [lambda: t.__setitem__(0, other.mean()), lambda: t[-1].mul_(0.5)]
    if t.dim() == 1:
        choices.append(lambda: t.index_put_((torch.tensor([0, 0]),), w[:2], accumulate=True))
    random.choice(choices)()


def use(random: Random, t: Tensor, other: Tensor) -> Tensor:
    return random.choice([t.sin, t.tanh, t.clone, lambda: t * 2, lambda: t * other.sum(), lambda: t * t])()


class Program:
    """A random program; the same seed gives the same program again."""

    def __init__(self, seed: int, x: Tensor, w: Tensor, data=Tensor.detach):
        self.random, self.w, self.data = Random(seed), w, data
        self.pool = [x, w, x * 1, w.sin(), torch.full((3, 4), 0.5, dtype=x.dtype)]

    def run(self, *, with_stops: bool) -> Tensor:
        for _ in range(self.random.randrange(2, 13)):
            t, other = self._pick(with_stops), self._pick(with_stops)
            is_quiet = with_stops and self.random.random() < 0.2
            with torch.set_grad_enabled(torch.is_grad_enabled() and not is_quiet):
                self._step(t, other, with_stops)
        used = self.pool[2:]
        return sum((t * 1.5).sin().sum() if place % 2 else t.sum() for place, t in enumerate(used))

    def _step(self, t: Tensor, other: Tensor, with_stops: bool) -> None:
        kind = self.random.random()
        if kind < 0.3:
            self.pool.append(view_of(self.random, t))
        elif kind < 0.7:
            write(self.random, t, other, self.w)
        elif kind < 0.8 or not with_stops:
            self.pool.append(use(self.random, t, other))
        elif kind < 0.9:
            self.pool.append(self.random.choice(FUNCTIONS).apply(t))
        else:
            self.pool.append(self.random.choice([Tensor.detach, self.data, lambda t: (t * 1).unsafe_chunk(2)[0]])(t))

    def _pick(self, with_stops: bool) -> Tensor:
        first = 0 if with_stops else 2  # a leaf may be written without grad only
        newest = len(self.pool) - 1
        return self.pool[max(first, newest - int(self.random.expovariate(0.35)))]


def leaves() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    x, w = (torch.randn(shape, dtype=torch.float64, generator=generator) for shape in ((3, 4), (4,)))
    return x.requires_grad_(), w.requires_grad_()


def same(ours: Tensor | None, theirs: Tensor | None) -> bool:
    """None and zeros are the same here: of a Function, autograd gives zeros where nothing flows back."""
    if ours is None or theirs is None:
        return all(g is None or not g.any() for g in (ours, theirs))
    return torch.allclose(ours, theirs, rtol=1e-8, atol=1e-9)


def gradients_by_autograd(loss: Tensor, wanted: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, wanted, allow_unused=True)


# --- tests --------------------------------------------------------------------------------------------------


def agrees_with_stops(seed: int) -> bool | None:
    """Whether the tape agrees with autograd; None where one of them refuses.

    ``.data`` hides writes from autograd's checks, so the reference runs with ``detach()`` in its place.
    """
    x, w = leaves()
    try:
        reference = gradients_by_autograd(Program(seed, x, w).run(with_stops=True), (x, w))
    except RuntimeError:
        return None
    x, w = leaves()
    with Tape() as tape:
        loss = Program(seed, x, w, data=lambda t: t.data).run(with_stops=True)
    try:
        found = tape.backward(loss)
    except TapeError as error:
        if "mark_dirty" in str(error):  # a Function that writes to a view
            return None
        raise
    return all(same(found.get(leaf), theirs) for leaf, theirs in zip((x, w), reference, strict=True))


def agrees_without_writes(seed: int, with_grad: bool) -> bool | None:
    """Whether the tape agrees with the functional program; None where there is none, or PyTorch refuses the write."""
    x, w = leaves()
    try:
        pure = functionalize(lambda x, w: Program(seed, x, w).run(with_stops=False))(x, w)
        reference = gradients_by_autograd(pure, (x, w))  # some of what functionalize makes has no derivative there
        x, w = leaves()
        with torch.set_grad_enabled(with_grad), Tape() as tape:
            loss = Program(seed, x, w).run(with_stops=False)
    except RuntimeError:
        return None
    found = tape.backward(loss)
    return all(same(found.get(leaf), theirs) for leaf, theirs in zip((x, w), reference, strict=True))


def nodes_without_operation(seed: int) -> set[str] | None:
    """Autograd's nodes whose number no entry carries; None where autograd refuses the program."""
    x, w = leaves()
    with Tape() as tape:
        try:
            loss = Program(seed, x, w).run(with_stops=False)
        except RuntimeError:
            return None
    recorded = {entry.number for entry in tape.entries}
    nodes, stack = set(), [loss.grad_fn]
    while stack:
        node = stack.pop()
        if node not in nodes and not hasattr(node, "variable"):
            nodes.add(node)
            stack.extend(parent for parent, _ in node.next_functions if parent is not None)
    return {node.name() for node in nodes if node._sequence_nr() not in recorded}


def answers(question, block: int) -> dict[int, object]:
    """The answers for a block of seeds, without the refusals; enough must be left for the test to mean something."""
    found = {seed: question(seed) for seed in range(100 * block, 100 * block + 100)}
    found = {seed: answer for seed, answer in found.items() if answer is not None}
    assert len(found) >= 25
    return found


@BLOCKS
def test_like_autograd(block):
    assert [seed for seed, agrees in answers(agrees_with_stops, block).items() if not agrees] == []


@BLOCKS
@pytest.mark.parametrize("with_grad", [True, False])
def test_like_the_program_without_writes(block, with_grad):
    found = answers(lambda seed: agrees_without_writes(seed, with_grad), block)
    assert [seed for seed, agrees in found.items() if not agrees] == []


@BLOCKS
def test_every_node_of_autograd_has_its_operation(block):
    assert {seed: names for seed, names in answers(nodes_without_operation, block).items() if names} == {}
