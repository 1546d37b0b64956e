"""Whether the gradient survives its way back through the layers: a verdict from numbers, and its reasons.

A gradient is a product of local derivatives, one for each layer between a weight and the loss. If each of them
shrinks it by about the same factor r, the layer k places further down receives rᵏ of it: in log₁₀ a straight line
over depth. So a line is fitted to log₁₀ of each layer's RMS gradient, and its slope is the factor of one layer.

A layer z = W h + b shows two gradients. That of W is what the optimizer uses: ∂L/∂W = δ hᵀ, where δ = ∂L/∂z arrives
from the loss and h came from the input. That of b is δ alone. Where every layer of a network without normalization
multiplies by 3, δ grows threefold on the way back and h on the way forward: δ hᵀ is equal everywhere, and only the
biases show that the gradient explodes. So both are judged.

Only ratios between layers are judged. The size itself means nothing: a loss measured in other units scales every
gradient alike.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, TypeAlias

import numpy as np

Verdict: TypeAlias = Literal["healthy", "vanishing", "exploding", "dead", "non-finite", "unknown"]

DECADES = 2.0
"""How far the gradient may change over the whole depth, in powers of ten; the reason is in `diagnose_flow`."""

NOISE = 4.0
"""A bias whose gradient is so many powers of ten below its weight's is taken for rounding noise."""


@dataclass(frozen=True)
class Flow:
    """How the gradient fares on its way from the loss back to the input.

    Attributes:
        verdict: one word.
        words: the verdict with its reasons, a sentence or a few.
        levels: log₁₀ of each weight's typical RMS gradient [layers], input first; NaN where there is none.
        slope: log₁₀ of the factor of one layer on the way back; NaN if fewer than two layers have a level.
        height: log₁₀ of the fitted line at the layer nearest to the input.
        total: log₁₀ of the factor over the whole depth, on the way back.
        arriving: log₁₀ of each bias's typical RMS gradient [layers]; NaN where there is none that can be used.
        arriving_slope: as ``slope``, of ``arriving``.
        dead: layers whose gradient was exactly zero throughout.
        nonfinite: layers whose gradient was NaN or infinite at some step.
        missing: layers without any gradient in these steps.
    """

    verdict: Verdict
    words: str
    levels: np.ndarray
    slope: float
    height: float
    total: float
    arriving: np.ndarray
    arriving_slope: float
    dead: tuple[str, ...]
    nonfinite: tuple[str, ...]
    missing: tuple[str, ...]


def diagnose_flow(layers: Mapping[str, np.ndarray], biases: Mapping[str, np.ndarray] | None = None) -> Flow:
    """Judge the gradient flow.

    The *level* of a layer is the median of its RMS gradient over the steps given. The slope over depth is that of
    Theil and Sen, the median of the slopes between all pairs of layers: up to 29% of the layers may be outliers
    (an unusually wide one, a normalization's gain) and the line stays.

    The verdict asks for the change over the *whole* depth, since r = 0.9 is harmless over 5 layers and fatal over
    100. It is the larger of two numbers: slope × (layers − 1), and the median of the last third of the layers
    against that of the first third, which sees a single layer that lets nothing through, where a robust line does
    not. Of the biases only the first is taken.

    More than a factor of 100 is called vanishing or exploding, and here is why 100: plain descent has one learning
    rate for all layers. A good one moves each weight by about 10⁻³ of its size at each step (Karpathy), and a tenth
    or the tenfold of that can still be lived with: from 10⁻⁴ to 10⁻², a factor of 100. If gradients differ by more,
    no learning rate is right for the first and the last layer at once. (Nielsen's demonstration of the vanishing
    gradient, four hidden sigmoid layers, shows a factor of about 100, too.) What is healthy stays clear of that:
    layers of different width differ by about √(ratio of widths), and the gradient of a ReLU network with He's
    initialization wanders by a factor of about exp(√(5 · layers / width) / 2) (Hanin and Nica), which is 2.7 for 50
    layers of width 64.

    Args:
        layers: for each weight, the one nearest to the input first, its RMS gradient at some steps ([n], n may
            differ and be 0). `depth_weights` chooses the weights.
        biases: the RMS gradient of their biases, under the name of the *weight*. `depth_biases` chooses them. One that
            is below 10⁻⁴ of its weight's is not used: before a normalization it is 0 in theory and rounding noise
            in float32 (2⁻²⁴ of its summands).

    Returns:
        The verdict. Its order of precedence: *non-finite* if a layer's gradient is NaN or infinite at its last step or
        at most steps (at a few only, as when a loss scaler skips a step, layers are named and the verdict is
        another); *vanishing* or *exploding*; *dead* if a layer's gradient is exactly zero throughout; *unknown* if
        fewer than two layers have a level, since then there is no depth; *healthy*.

    Example:
        >>> diagnose_flow({f"{i}.weight": np.array([0.2 ** (9 - i)]) for i in range(10)}).words
        "vanishing: weights' gradients × 0.2 a layer on the way back to the input, × 5.1e-07 over 10 layers"
        >>> diagnose_flow({"0.weight": np.array([0.01]), "2.weight": np.array([0.02])}).verdict
        'healthy'

    References:
        H. Theil, *A rank-invariant method of linear and polynomial regression analysis*, 1950;
        P. K. Sen, *Estimates of the regression coefficient based on Kendall's tau*, 1968.
        A. Karpathy, *CS231n: Neural networks part 3*, "Ratio of weights:updates", cs231n.github.io/neural-networks-3.
        M. Nielsen, *Neural networks and deep learning*, 2015, chapter 5.
        B. Hanin, M. Nica, *Products of many large random matrices and gradients in deep neural networks*, 2018,
        arXiv:1812.05994.
    """
    values = {name: np.asarray(own, float) for name, own in layers.items()}
    levels = np.array([_level(own) for own in values.values()])
    slope, height = _line(levels)
    whole = slope * _depth(levels)
    total = max(whole, _ends(levels), key=abs) if np.isfinite(whole) else np.nan
    arriving = np.array([_level(np.asarray((biases or {}).get(name, ()), float)) for name in values])
    arriving[arriving < levels - NOISE] = np.nan
    arriving_slope = _line(arriving)[0]
    arriving_total = arriving_slope * _depth(arriving)
    dead = tuple(name for name, own in values.items() if len(own) and not own.any())
    nonfinite = tuple(name for name, own in values.items() if not np.isfinite(own).all())
    missing = tuple(name for name, own in values.items() if not len(own))
    hidden = abs(arriving_total) > DECADES >= abs(total)
    verdict = _verdict(arriving_total if hidden else total, bool(dead), any(map(_broken, values.values())))
    words = [_flow_in_words(verdict, list(values), levels, slope, total)]
    if hidden:
        words.append(_hidden_in_words(arriving, arriving_slope, arriving_total))
    if dead:
        words.append(f"exactly zero: {_list(dead)}")
    if nonfinite:
        at = "" if verdict == "non-finite" else " at some steps"
        words.append(f"NaN or infinite{at}: {_list(nonfinite)}")
    if missing:
        words.append(f"no gradient in these steps: {_list(missing)}")
    return Flow(
        verdict, "; ".join(words), levels, slope, height, total, arriving, arriving_slope, dead, nonfinite, missing
    )


def depth_weights(names: Iterable[str], vectors: Collection[str] = ()) -> list[str]:
    """Choose the parameters whose gradients can be compared over depth: weight matrices and kernels, by their names.

    Biases and the gains of normalizations are of another kind (they multiply a one or a normalized number, not a
    layer's input), and an embedding's rows have a gradient only where their word occurs.

    Args:
        names: of parameters, such as ``0.weight``, ``encoder.in_proj_weight`` or ``weight_hh_l0``.
        vectors: names that the caller knows to be of one dimension, which a name such as ``1.weight`` does not say.

    Returns:
        The chosen names, in their order.

    Example:
        >>> depth_weights(["wte.weight", "0.weight", "0.bias", "norm.weight", "bn1.weight", "rnn.weight_hh_l0"])
        ['0.weight', 'rnn.weight_hh_l0']
        >>> depth_weights(["0.weight", "1.weight"], vectors={"1.weight"})
        ['0.weight']
    """
    return [name for name in names if _is_weight(name) and name not in vectors]


def depth_biases(names: Iterable[str], weights: Iterable[str], vectors: Collection[str] = ()) -> dict[str, str]:
    """Find the bias of each weight, where biases can be judged.

    A normalization makes activations and what arrives at a bias equal in size, or cancels it altogether: where a
    name tells of one, there is nothing to find in the biases that the weights do not show.

    Args:
        names: of all parameters.
        weights: those whose biases are asked for.
        vectors: names that the caller knows to be of one dimension; a *weight* among them is a normalization's gain.

    Returns:
        The bias's name for each weight that has one.

    Example:
        >>> depth_biases(["0.weight", "0.bias", "2.weight"], ["0.weight", "2.weight"])
        {'0.weight': '0.bias'}
        >>> depth_biases(["0.weight", "0.bias", "norm.weight"], ["0.weight"])
        {}
    """
    names = list(names)
    gains = [name for name in names if _NORMALIZATION.search(name.lower()) or (_is_weight(name) and name in vectors)]
    partners = {weight: re.sub(r"weight(?=[^.]*$)", "bias", weight) for weight in weights}
    return {weight: bias for weight, bias in partners.items() if bias in names and bias != weight and not gains}


def factor(logarithm: float) -> str:
    """A factor in words, from its log₁₀: it may be beyond every float.

    Example:
        >>> factor(-0.5), factor(-400.2)
        ('0.32', '6.3e-401')
    """
    if abs(logarithm) < 3:
        return f"{10**logarithm:.2g}"
    power = int(np.floor(logarithm))
    return f"{10 ** (logarithm - power):.1f}e{power:+03d}"


_NORMALIZATION = re.compile(r"norm|(^|\.)(bn|ln|gn)(_?\d+|_\w)?\.")
_OTHER_KIND = re.compile(r"norm|emb|^(bn|ln|gn|wte|wpe|tok(en)?|pos(ition)?)(_?\d+|_\w)?$")


def _is_weight(name: str) -> bool:
    # torch.nn.utils.parametrize keeps a weight as <module>.parametrizations.weight.original (or original1).
    *path, last = re.sub(r"\.original1?$", "", name.lower()).split(".")
    return "weight" in last.split("_") and not any(_OTHER_KIND.search(part) for part in path)


def _level(values: np.ndarray) -> float:
    positive = values[np.isfinite(values) & (values > 0)]
    return float(np.log10(np.median(positive))) if len(positive) else np.nan


def _broken(values: np.ndarray) -> bool:
    finite = np.isfinite(values)
    return len(values) > 0 and bool(not finite[-1] or finite.mean() < 0.5)


def _line(levels: np.ndarray) -> tuple[float, float]:
    """Theil and Sen's slope on the way back (towards lower indices), and the height at index 0."""
    places = np.flatnonzero(np.isfinite(levels))
    if len(places) < 2:
        return np.nan, np.nan
    slopes = [(levels[i] - levels[j]) / (j - i) for i, j in combinations(places, 2)]
    slope = float(np.median(slopes))
    return slope, float(np.median(levels[places] + slope * places))


def _depth(levels: np.ndarray) -> int:
    """How many layers lie between the first and the last that have a level."""
    places = np.flatnonzero(np.isfinite(levels))
    return int(places[-1] - places[0]) if len(places) else 0


def _ends(levels: np.ndarray) -> float:
    """The first third of the layers against the last third."""
    known = levels[np.isfinite(levels)]
    third = max(1, len(known) // 3)
    return float(np.median(known[:third]) - np.median(known[-third:])) if len(known) > 1 else np.nan


def _verdict(total: float, dead: bool, broken: bool) -> Verdict:
    if broken:
        return "non-finite"
    if abs(total) > DECADES:
        return "vanishing" if total < 0 else "exploding"
    if dead:
        return "dead"
    return "healthy" if np.isfinite(total) else "unknown"


def _flow_in_words(verdict: Verdict, names: list[str], levels: np.ndarray, slope: float, total: float) -> str:
    known = np.flatnonzero(np.isfinite(levels))
    if len(known) < 2:
        count = "no layer has a gradient" if not len(known) else "one layer only has a gradient"
        return f"{verdict}: {count}, so there is no depth to compare over"
    line = f"× {factor(slope)} a layer on the way back to the input"
    words = f"{verdict}: weights' gradients {line}, × {factor(total)} over {len(known)} layers"
    if abs(total) > DECADES >= abs(slope * _depth(levels)):
        # The line does not tell it: one place does.
        steps = np.diff(levels[known]) * -np.sign(total)
        at = int(np.argmax(steps))
        words += f", most of it between {names[known[at]]} and {names[known[at + 1]]}"
    return words


def _hidden_in_words(levels: np.ndarray, slope: float, total: float) -> str:
    # δ hᵀ is level, so where δ shrinks towards the input, h shrinks towards the loss.
    change = "shrink" if total < 0 else "grow"
    return (
        f"what arrives at the layers (their biases' gradients) × {factor(slope)} a layer, × {factor(total)} over "
        f"{np.isfinite(levels).sum()} layers; the weights' gradients hide it, since the activations {change} on "
        "the way forward"
    )


def _list(names: tuple[str, ...], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
