"""Surfaces of any dimension, each with its formula and known minimizers.

What they are good for: ``Quadratic`` shows conditioning and ``Rosenbrock`` a curved valley; ``Rastrigin``,
``Ackley`` and ``StyblinskiTang`` have local minima in which a descent is caught.

References:
    M. Jamil, X.-S. Yang, *A literature survey of benchmark functions for global optimisation problems*, Int.
    J. Mathematical Modelling and Numerical Optimisation 4(2), 2013, arXiv:1308.4008: formulas and minimizers.
    J. J. Moré, B. S. Garbow, K. E. Hillstrom, *Testing unconstrained optimization software*, ACM TOMS 7(1),
    1981: the usual start of Rosenbrock's.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from gradlab.losses.surface import Surface


class Quadratic(Surface):
    """f(x) = ½ Σᵢ λᵢ xᵢ², λ from 1 to ``condition`` at equal ratios. Minimizer: the origin, where f = 0.

    ∂f/∂xᵢ = λᵢ xᵢ, and the Hessian is diag(λ), whose condition number is ``condition``. Gradient descent with
    learning rate η multiplies coordinate i by 1 − ηλᵢ at each step: η < 2 / condition or it diverges, and the
    flat coordinate (λ = 1) is the slow one. In one dimension the only λ is 1.

    Args:
        dimension: the number of coordinates, at least 1.
        condition: the largest eigenvalue over the smallest, at least 1.
        start: one number for every coordinate, or ``dimension`` numbers.

    Raises:
        ValueError: ``condition`` is below 1 or not finite; ``dimension`` or ``start`` as in ``Surface``.

    Example:
        >>> surface = Quadratic(dimension=2, condition=10.0)
        >>> surface(torch.tensor([1.0, 1.0])).item()
        5.5
        >>> surface.gradient_at([1.0, 1.0]).tolist()
        [1.0, 10.0]

    References:
        Y. Nesterov, *Lectures on Convex Optimization*, 2nd ed., 2018, section 2.1.
    """

    eigenvalues: torch.Tensor
    bounds = ((-1.5, 1.5), (-1.5, 1.5))
    minimum = 0.0

    def __init__(
        self, dimension: int = 2, condition: float = 10.0, start: float | Sequence[float] | None = None
    ) -> None:
        super().__init__(dimension, start)
        if not isinstance(condition, (int, float)) or not 1 <= condition < math.inf:
            raise ValueError(
                f"quadratic has no condition number {condition} (loss.condition): it is the largest "
                "eigenvalue over the smallest, so any finite number from 1 on"
            )
        exponents = torch.linspace(0.0, 1.0, dimension, dtype=torch.float64)
        # Derived from the arguments, so no part of the state; a buffer follows the loss to another device.
        self.register_buffer("eigenvalues", float(condition) ** exponents, persistent=False)
        self.minimizers = ((0.0,) * dimension,)

    def formula(self, p: Any, m: Any) -> Any:
        return m.sum(m.constants(self.eigenvalues, p) * p**2) / 2


class Rosenbrock(Surface):
    """f(x) = Σᵢ 100 (xᵢ₊₁ − xᵢ²)² + (1 − xᵢ)², i = 1 … n − 1. Minimizer: (1, …, 1), where f = 0.

    The floor of the valley is the parabola y = x²; across it the curvature is about 2500 times the one along
    it, which is what makes the descent slow. In four and more dimensions there is one more local minimizer,
    near (−1, 1, …, 1). Without a ``start`` it is (−1.2, 1), and −1.2, 1, −1.2, ... in more dimensions.

    Example:
        >>> Rosenbrock()(torch.tensor([-1.2, 1.0], dtype=torch.float64)).item()
        24.199999999999996

    References:
        H. H. Rosenbrock, *An automatic method for finding the greatest or least value of a function*, The
        Computer Journal 3(3), 1960. The sum over neighbours and its second minimizer: Y.-W. Shang, Y.-H. Qiu,
        *A note on the extended Rosenbrock function*, Evolutionary Computation 14(1), 2006.
    """

    smallest = 2
    bounds = ((-2.0, 2.0), (-1.0, 3.0))
    minimum = 0.0

    def __init__(self, dimension: int = 2, start: float | Sequence[float] | None = None) -> None:
        dimension = self._checked_dimension(dimension)
        usual = [-1.2 if i % 2 == 0 else 1.0 for i in range(dimension)]
        super().__init__(dimension, usual if start is None else start)
        self.minimizers = ((1.0,) * dimension,)

    def formula(self, p: Any, m: Any) -> Any:
        x, following = p[..., :-1], p[..., 1:]
        return m.sum(100 * (following - x**2) ** 2 + (1 - x) ** 2)


class Rastrigin(Surface):
    """f(x) = 10 n + Σᵢ xᵢ² − 10 cos(2π xᵢ). Minimizer: the origin, where f = 0.

    A bowl with a ripple: there is a local minimum near every point with integer coordinates.

    Example:
        >>> Rastrigin(dimension=3)(torch.zeros(3)).item()
        0.0

    References:
        L. A. Rastrigin, *Systems of Extremal Control*, Nauka, Moscow, 1974 (two dimensions); H. Mühlenbein,
        M. Schomisch, J. Born, *The parallel genetic algorithm as function optimizer*, Parallel Computing 17,
        1991.
    """

    default_start = 1.7
    bounds = ((-5.12, 5.12), (-5.12, 5.12))
    minimum = 0.0

    def __init__(self, dimension: int = 2, start: float | Sequence[float] | None = None) -> None:
        super().__init__(dimension, start)
        self.minimizers = ((0.0,) * dimension,)

    def formula(self, p: Any, m: Any) -> Any:
        return m.sum(p**2 - 10 * m.cos(2 * m.pi * p) + 10)


class Ackley(Surface):
    """f(x) = 20 + e − 20 exp(−0.2 √(Σ xᵢ² / n)) − exp(Σ cos(2π xᵢ) / n). Minimizer: the origin, where f = 0.

    The origin is a kink, the tip of a cone: √ has no derivative at 0. The gradient does not tend to 0 there
    (along an axis its first term tends to 4/√n), so a descent with a constant step does not settle; and
    exactly at the origin the chain rule gives 0 · ∞, so the gradient is NaN by every witness. No other point
    is concerned.

    Example:
        >>> Ackley().gradient_at([1e-9, 0.0]).round(6).tolist()
        [2.828427, 0.0]
        >>> Ackley().gradient_at([0.0, 0.0]).tolist()
        [nan, nan]

    References:
        D. H. Ackley, *A Connectionist Machine for Genetic Hillclimbing*, Kluwer, 1987 (two dimensions); T.
        Bäck, *Evolutionary Algorithms in Theory and Practice*, Oxford University Press, 1996.
    """

    default_start = 2.5
    bounds = ((-5.0, 5.0), (-5.0, 5.0))
    minimum = 0.0

    def __init__(self, dimension: int = 2, start: float | Sequence[float] | None = None) -> None:
        super().__init__(dimension, start)
        self.minimizers = ((0.0,) * dimension,)

    def formula(self, p: Any, m: Any) -> Any:
        cone = m.exp(-m.sqrt(m.sum(p**2) / self.dimension) / 5)
        ripple = m.exp(m.sum(m.cos(2 * m.pi * p)) / self.dimension)
        return 20 + m.e - 20 * cone - ripple


class StyblinskiTang(Surface):
    """f(x) = ½ Σᵢ xᵢ⁴ − 16 xᵢ² + 5 xᵢ. Minimizer: every xᵢ = −2.9035…, where f = −39.166… n.

    The slope of one coordinate, (4x³ − 32x + 5) / 2, has three roots: this minimizer, a local maximum at
    0.157 and a local minimizer at 2.747. Roots and value come from sympy's ``nroots`` at 40 digits, rounded
    to double precision.

    Example:
        >>> surface = StyblinskiTang(dimension=1)
        >>> surface.minimum
        -39.16616570377141

    References:
        M. A. Styblinski, T.-S. Tang, *Experiments in nonconvex optimization: stochastic approximation with
        function smoothing and simulated annealing*, Neural Networks 3(4), 1990.
    """

    default_start = 0.0
    bounds = ((-5.0, 5.0), (-5.0, 5.0))

    def __init__(self, dimension: int = 2, start: float | Sequence[float] | None = None) -> None:
        super().__init__(dimension, start)
        self.minimizers = ((-2.903534027771177,) * dimension,)
        self.minimum = -39.16616570377141 * dimension

    def formula(self, p: Any, m: Any) -> Any:
        return m.sum(p**4 - 16 * p**2 + 5 * p) / 2
