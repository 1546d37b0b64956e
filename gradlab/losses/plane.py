"""Surfaces over the plane, each with its formula and known minimizers.

What they are good for: ``Himmelblau`` has four equal minima, ``Beale`` a plateau, ``Booth`` coupled
coordinates, ``Saddle`` a stationary point that is no minimum.

References:
    M. Jamil, X.-S. Yang, *A literature survey of benchmark functions for global optimisation problems*, Int.
    J. Mathematical Modelling and Numerical Optimisation 4(2), 2013, arXiv:1308.4008: formulas and minimizers.
    J. J. Moré, B. S. Garbow, K. E. Hillstrom, *Testing unconstrained optimization software*, ACM TOMS 7(1),
    1981: the usual start of Beale's.
"""

import math
from typing import Any

from gradlab.losses.surface import Surface


class Himmelblau(Surface):
    """f(x, y) = (x² + y − 11)² + (x + y² − 7)². Four minimizers, all with f = 0; one of them is (3, 2).

    The other three are roots of x² + y = 11, x + y² = 7, solved with sympy's ``nsolve`` to 40 digits and
    rounded to double precision; they agree with the three digits of the literature.

    Example:
        >>> import torch
        >>> Himmelblau()(torch.tensor([3.0, 2.0])).item()
        0.0

    References:
        D. M. Himmelblau, *Applied Nonlinear Programming*, McGraw-Hill, 1972.
    """

    smallest = largest = 2
    default_start = (0.0, 0.0)
    bounds = ((-5.0, 5.0), (-5.0, 5.0))
    minimum = 0.0
    minimizers = (
        (3.0, 2.0),
        (-2.805118086952745, 3.131312518250573),
        (-3.779310253377747, -3.2831859912861696),
        (3.5844283403304917, -1.8481265269644036),
    )

    def formula(self, p: Any, m: Any) -> Any:
        x, y = p[..., 0], p[..., 1]
        return (x**2 + y - 11) ** 2 + (x + y**2 - 7) ** 2


class Beale(Surface):
    """f(x, y) = (1.5 − x + xy)² + (2.25 − x + xy²)² + (2.625 − x + xy³)². Minimizer: (3, ½), where f = 0.

    Flat near y = 1 and steep at the corners, where gradients differ by orders of magnitude.

    Example:
        >>> import torch
        >>> Beale()(torch.tensor([3.0, 0.5])).item()
        0.0

    References:
        E. M. L. Beale, *On an iterative method of finding a local minimum of a function of more than one
        variable*, Technical Report 25, Princeton University, 1958; Moré, Garbow and Hillstrom, 1981, problem
        5.
    """

    smallest = largest = 2
    default_start = (1.0, 1.0)
    bounds = ((-0.5, 4.5), (-1.5, 1.5))
    minimum = 0.0
    minimizers = ((3.0, 0.5),)

    def formula(self, p: Any, m: Any) -> Any:
        x, y = p[..., 0], p[..., 1]
        return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


class Booth(Surface):
    """f(x, y) = (x + 2y − 7)² + (2x + y − 5)². Minimizer: (1, 3), where f = 0.

    A quadratic whose axes are not the coordinate axes: its Hessian is [[10, 8], [8, 10]], with eigenvalues 2
    and 18.

    Example:
        >>> Booth().hessian_at([1.0, 3.0]).tolist()
        [[10.0, 8.0], [8.0, 10.0]]

    References:
        Jamil and Yang, 2013, function 17.
    """

    smallest = largest = 2
    default_start = (-4.0, -2.0)
    bounds = ((-6.0, 8.0), (-4.0, 10.0))
    minimum = 0.0
    minimizers = ((1.0, 3.0),)

    def formula(self, p: Any, m: Any) -> Any:
        x, y = p[..., 0], p[..., 1]
        return (x + 2 * y - 7) ** 2 + (2 * x + y - 5) ** 2


class Saddle(Surface):
    """f(x, y) = x² − y². No minimizer: the origin is stationary, and f falls without bound along y.

    The usual start lies just beside y = 0: a descent first runs towards the origin, then leaves it along y,
    and goes on for ever.

    Example:
        >>> Saddle().hessian_at([0.0, 0.0]).tolist()
        [[2.0, 0.0], [0.0, -2.0]]

    References:
        Y. N. Dauphin et al., *Identifying and attacking the saddle point problem in high-dimensional
        non-convex optimization*, NeurIPS 2014, arXiv:1406.2572.
    """

    smallest = largest = 2
    default_start = (1.5, 0.01)
    minimum = -math.inf

    def formula(self, p: Any, m: Any) -> Any:
        x, y = p[..., 0], p[..., 1]
        return x**2 - y**2
