"""A valley at the foot of a cliff: what a number multiplied by itself again and again does to a loss.

References:
    Y. Bengio, P. Simard, P. Frasconi, *Learning long-term dependencies with gradient descent is difficult*, IEEE
    Transactions on Neural Networks 5(2), 1994; R. Pascanu, T. Mikolov, Y. Bengio, *On the difficulty of training
    recurrent neural networks*, ICML 2013, arXiv:1211.5063, section 2.3: such a cliff in a recurrent network.
"""

from collections.abc import Sequence
from typing import Any

from gradlab.losses.surface import Surface


class Cliff(Surface):
    """f(x, y) = ½ (y − 1)² + ½ (x^T y − 1)² with T = ``steps``. Minimizer: (1, 1), where f = 0.

    The smallest recurrent network, with one unit: its state begins as y, is multiplied by x in each of T time steps,
    and ought to be 1 at the start and at the end. ∂f/∂x = (x^T y − 1) T x^(T−1) y: for x < 1 next to nothing, for x > 1
    the wall of a cliff. For even T, (−1, 1) is a minimizer, too.

    Args:
        dimension: 2.
        start: where a descent starts: two numbers, or one for both.
        steps: T, from 1 on.

    Raises:
        ValueError: ``steps`` is no whole number from 1 on; ``dimension`` or ``start`` as in ``Surface``.

    Example:
        >>> Cliff().gradient_at([1.5, 1.0]).round().tolist(), Cliff().gradient_at([0.5, 1.0]).round(3).tolist()
        ([8637.0, 1439.0], [-0.035, -0.002])
    """

    smallest = largest = 2
    default_start = (1.3, 1.2)
    bounds = ((0.4, 1.6), (0.4, 1.6))
    minimum = 0.0

    def __init__(self, dimension: int = 2, start: float | Sequence[float] | None = None, steps: int = 9) -> None:
        super().__init__(dimension, start)
        if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
            raise ValueError(f"cliff multiplies a whole number of times from 1 on (loss.steps), got {steps!r}")
        self.steps = steps
        self.minimizers = ((1.0, 1.0),) if steps % 2 else ((1.0, 1.0), (-1.0, 1.0))

    def formula(self, p: Any, m: Any) -> Any:
        x, state = p[..., 0], p[..., 1]
        first = state
        for _ in range(self.steps):
            state = x * state
        return (first - 1) ** 2 / 2 + (state - 1) ** 2 / 2
