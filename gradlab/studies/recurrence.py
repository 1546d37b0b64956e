"""Gradients through time: how much of the gradient of a loss at the last time step reaches each earlier one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from gradlab.backprop import Tape
from gradlab.errors import BadInput
from gradlab.studies.base import Findings, Setting
from gradlab.studies.network import distance, flat

State = tuple[Tensor, ...]
Advance = Callable[[Tensor, State], State]
SEQUENCES = 8
BOUND = "at most"


@dataclass(frozen=True, slots=True)
class Fading:
    """The gradient of a loss at time T by the state at each earlier time.

    Attributes:
        name: of the network.
        sizes: ‖∂L/∂hₜ‖ ÷ ‖∂L/∂h_T‖ for t = 0 … T [T + 1].
        factor: what theory says that a step backwards multiplies by; None where it says nothing.
        sense: in which sense theory says so, in words: ``exactly``, ``at most``, …
        error: of the handwritten sweep against autograd, for the first state.
    """

    name: str
    sizes: np.ndarray
    factor: float | None
    sense: str
    error: float

    @property
    def per_step(self) -> float:
        """The factor for each step back in time, on the average."""
        return float(self.sizes[0] ** (1 / (len(self.sizes) - 1)))

    def predicted(self) -> np.ndarray:
        """factor^(T − t) [T + 1]; without a factor a row of NaN."""
        if self.factor is None:
            return np.full(len(self.sizes), math.nan)
        return self.factor ** np.arange(len(self.sizes) - 1.0, -1, -1)


class Recurrence:
    """Runs recurrent cells over random inputs and follows the gradient of their last state back to the first.

    Args:
        hidden: numbers in a state.
        steps: T, how many time steps.
        radii: the factors on a random rotation that is the recurrent matrix of a plain cell; so each is its spectral
            radius (the size of its largest eigenvalue) and its largest singular value as well.
        gate_bias: what opens the gate that keeps the state, in ``gru`` and ``lstm``.
        size: standard deviation of what the inputs add before the activation.

    References:
        Y. Bengio, P. Simard, P. Frasconi, *Learning long-term dependencies with gradient descent is difficult*, 1994;
        R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training recurrent neural networks*, 2013,
        arXiv:1211.5063; R. Jozefowicz and others, *An empirical exploration of recurrent network architectures*,
        2015 (the bias).
    """

    def __init__(
        self,
        hidden: int = 32,
        steps: int = 60,
        radii: Sequence[float] = (0.5, 1.0, 1.5),
        gate_bias: float = 3.0,
        size: float = 0.05,
    ) -> None:
        if hidden < 1 or steps < 1 or not radii or min(radii) <= 0:
            raise BadInput("study: hidden and steps are whole numbers from 1 on, and radii are numbers above 0")
        self._hidden, self._steps, self._radii = int(hidden), int(steps), [float(radius) for radius in radii]
        self._bias, self._size = float(gate_bias), float(size)

    def __call__(self, setting: Setting) -> Findings:
        from gradlab.figures import recurrence as picture  # matplotlib is slow to import

        inputs = torch.randn(self._steps, SEQUENCES, self._hidden, dtype=torch.float64)
        rotation = torch.linalg.qr(torch.randn(self._hidden, self._hidden, dtype=torch.float64))[0]
        plain: list[tuple[Fading, Fading]] = []
        for radius in self._radii:
            straight, bent = (_advance_plain(radius * rotation, bend) for bend in (torch.Tensor.clone, torch.tanh))
            plain.append(
                (
                    follow(f"linear, radius {radius:g}", straight, self._size * inputs, (self._hidden,), radius),
                    follow(f"tanh, radius {radius:g}", bent, self._size * inputs, (self._hidden,), radius, BOUND),
                )
            )
        gated = self._gated(inputs)
        every = [*(fading for pair in plain for fading in pair), *gated]
        exact = [float(np.abs(line.sizes / line.predicted() - 1).max()) for line, _ in plain]
        return Findings(
            numbers={
                **{f"{fading.name}: first ÷ last": float(fading.sizes[0]) for fading in every},
                **{f"{f.name}: {_kind(f)}": float(f.predicted()[0]) for f in every if f.factor is not None},
                **{f"{fading.name}: per step": fading.per_step for fading in every},
                "greatest tanh ÷ bound": max(float((curve.sizes / curve.predicted()).max()) for _, curve in plain),
            },
            title=f"the gradient by the first state, {self._steps} steps back, in units of that by the last",
            rows=[
                ("network", "first ÷ last", "in theory", "per step"),
                *((f.name, f"{f.sizes[0]:.3g}", _theory(f), f"{f.per_step:.3f}") for f in every),
            ],
            figures={"recurrence": picture.figure(plain, gated)},
            errors={
                "the handwritten sweep": max(fading.error for fading in every),
                "radius^steps, without tanh": max(exact),
            },
        )

    def _gated(self, inputs: Tensor) -> list[Fading]:
        """PyTorch's cells with the weights that they start with, and those with gates with their gate open."""
        n, keep = self._hidden, 1 / (1 + math.exp(-self._bias))
        rnn, gru, lstm = (cell(n, n).double() for cell in (nn.RNNCell, nn.GRUCell, nn.LSTMCell))
        found = [
            follow("rnn", _advance_one(rnn), inputs, (n,)),
            follow("gru", _advance_one(gru), inputs, (n,)),
            follow("lstm", lstm, inputs, (n, n)),
        ]
        with torch.no_grad():
            for cell in (gru, lstm):  # the second quarter or third belongs to the gate that keeps the state
                cell.bias_ih[n : 2 * n] = 0
                cell.bias_hh[n : 2 * n] = self._bias
        opened = f"gate bias {self._bias:g}"
        found.append(follow(f"gru, {opened}", _advance_one(gru), inputs, (n,), keep, "about"))
        found.append(follow(f"lstm, {opened}", lstm, inputs, (n, n), keep, "its gate alone:"))
        return found


def follow(
    name: str,
    advance: Advance,
    inputs: Tensor,
    widths: Sequence[int],
    factor: float | None = None,
    sense: str = "exactly",
) -> Fading:
    """The gradient of a random projection of the last state by the state at each time.

    Args:
        name: of the network.
        advance: the next state, from an input [B, F] and a state.
        inputs: [T, B, F].
        widths: of the tensors that make up a state, the output first.
        factor, sense: see `Fading`.

    Example:
        >>> halve = lambda x, state: (0.5 * state[0] + x,)
        >>> follow("half", halve, torch.zeros(3, 1, 2), (2,)).sizes.tolist()
        [0.125, 0.25, 0.5, 1.0]
    """
    batch = inputs.shape[1]
    first = tuple(torch.zeros(batch, width, dtype=inputs.dtype).requires_grad_() for width in widths)
    direction = torch.randn(batch, widths[0], dtype=inputs.dtype)
    with Tape() as tape:
        states = [first]
        for x in inputs:
            # Copies, so that an LSTM's two parts have a gradient each: its h is made from its c.
            states.append(tuple(part.clone() for part in advance(x, states[-1])))
        loss = (states[-1][0] * direction).sum()
    gradients = torch.autograd.grad(loss, [part for state in states for part in state], allow_unused=True)
    norms = np.array([0.0 if g is None else float(g.norm()) for g in gradients]).reshape(len(states), -1)
    sizes = np.linalg.norm(norms, axis=1)
    swept = tape.backward(loss)
    by_hand = flat(g for g in (swept.get(part) for part in first) if g is not None)
    own = flat(g for g in gradients[: len(first)] if g is not None)
    return Fading(name, sizes / sizes[-1], factor, sense, distance(by_hand, own))


def _advance_plain(matrix: Tensor, bend: Callable[[Tensor], Tensor]) -> Advance:
    """h ← bend(x + W h)."""
    return lambda x, state: (bend(x + state[0] @ matrix.T),)


def _advance_one(cell: nn.Module) -> Advance:
    """A cell of torch.nn whose state is one tensor."""
    return lambda x, state: (cell(x, state[0]),)


def _theory(fading: Fading) -> str:
    return "" if fading.factor is None else f"{fading.sense} {fading.predicted()[0]:.3g}"


def _kind(fading: Fading) -> str:
    return "bound" if fading.sense == BOUND else "predicted"
