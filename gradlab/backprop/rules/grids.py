"""Sampling an image at the points of a grid, in two or three dimensions.

A point has one coordinate u in [−1, 1] for each spatial dimension. Each dimension by itself goes through three steps:

    position        p = α·u + β, which puts −1 and 1 on the outer entries (align_corners) or on their outer edges
    padding         a p outside the image stays there (zeros), moves to the edge (border), or is mirrored back
    interpolation   a few entries j near p, each with a weight wⱼ(p)

and then, with a, b, … the entries chosen along the dimensions,

    y = Σ w_a·w_b·…·x[a, b, …]   over all the combinations,

so that x[a, b, …] gets the gradient g·w_a·w_b·…, and a coordinate gets, by the product rule and the chain rule,

    ∂L/∂u = (∂p/∂u)·Σ (w′_a·w_b·…)·(Σ g·x[a, b, …] over the channels)   with w′ = ∂w/∂p in its own dimension.

The weights: 1 − f and f with f = p − ⌊p⌋ (linear); 1, whose derivative is 0 (nearest); Keys' cubic convolution with
a = −¾ (cubic; R. G. Keys, 1981), which pads each entry that it reads and not the position.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
GRIDS = Family()

LINEAR, NEAREST, CUBIC = 0, 1, 2
ZEROS, BORDER, REFLECTION = 0, 1, 2


class Tap(NamedTuple):
    """One entry that interpolation reads along one dimension: its place, its weight w, and ∂w/∂u."""

    place: Tensor
    weight: Tensor
    slope: Tensor


SAMPLED = "y = Σ w_a·w_b·…·x[a, b, …] over the entries near the point"
LOCAL = "∂y/∂x = the product of the weights; ∂y/∂u = Σ (∂w_a/∂u)·w_b·…·x[a, b, …] for each coordinate u"


@GRIDS.vjp((aten.grid_sampler_2d.default, aten.grid_sampler_3d.default), SAMPLED, LOCAL, reads="x grid")
def grid_sampler(g, y, x, grid, interpolation_mode, padding_mode, align_corners):
    """The last coordinate of a point belongs to the first spatial dimension."""
    sizes = x.shape[2:]
    taps = [
        _taps(u, size, interpolation_mode, padding_mode, align_corners)
        for u, size in zip(grid.flip(-1).unbind(-1), sizes, strict=True)
    ]
    g = g.flatten(2)

    def image():
        parts = g.new_zeros(*x.shape[:2], math.prod(sizes))
        for place, corner in _corners(taps, sizes):
            parts = parts.scatter_add(2, _for_channels(place, x), g * _product(corner).flatten(1).unsqueeze(1))
        return parts.reshape(x.shape)

    def points():
        flat, parts = x.flatten(2), [torch.zeros_like(grid[..., 0]) for _ in sizes]
        for place, corner in _corners(taps, sizes):
            value = (g * flat.gather(2, _for_channels(place, x))).sum(1).reshape(grid.shape[:-1])
            parts = [part + value * _product(corner, sloped=d) for d, part in enumerate(parts)]
        return torch.stack(parts[::-1], -1)

    return image, points


@GRIDS.vjp(aten.cudnn_grid_sampler.default, SAMPLED, LOCAL, reads="x grid")
def cudnn_grid_sampler(g, y, x, grid):
    """CuDNN's kernel knows one setting only."""
    return grid_sampler(g, y, x, grid, LINEAR, ZEROS, align_corners=True)


@GRIDS.vjp(
    aten.affine_grid_generator.default,
    "u = θ·(x, y, 1)ᵀ for every entry (x, y) of the image",
    "∂u/∂θ = (x, y, 1): θ gets Σ g·(x, y, 1) over the entries",
)
def affine_grid_generator(g, y, theta, size, align_corners):
    """One matrix θ for each image turns the places of its entries into the points of a grid."""
    lines = [_coordinates(n, align_corners, g) for n in reversed(size[2:])]
    places = [line.reshape(-1, *[1] * d).expand(size[2:]) for d, line in enumerate(lines)]
    return g.flatten(1, -2).mT @ torch.stack([*places, torch.ones_like(places[0])], -1).flatten(0, -2)


def _coordinates(n: int, align_corners: bool, like: Tensor) -> Tensor:
    """The coordinates of n entries: −1 and 1 are the outer ones (align_corners) or their outer edges; of one, 0."""
    steps = 2 * torch.arange(n, dtype=like.dtype, device=like.device) - (n - 1)
    return steps / max(n - 1, 1) if align_corners else steps / n


def _corners(taps: list[list[Tap]], sizes: torch.Size) -> Iterator[tuple[Tensor, tuple[Tap, ...]]]:
    """Each combination of one tap per dimension, with its place in the flattened image."""
    for corner in product(*taps):
        place = corner[0].place
        for tap, size in zip(corner[1:], sizes[1:], strict=True):
            place = place * size + tap.place
        yield place.flatten(1), corner


def _for_channels(place: Tensor, x: Tensor) -> Tensor:
    return place.unsqueeze(1).expand(-1, x.shape[1], -1)


def _product(corner: tuple[Tap, ...], sloped: int | None = None) -> Tensor:
    """The product of the weights; one dimension may put in the slope of its weight instead."""
    factors = [tap.slope if d == sloped else tap.weight for d, tap in enumerate(corner)]
    return math.prod(factors[1:], start=factors[0])


# --- along one dimension ------------------------------------------------------------------------------------


def _taps(u: Tensor, size: int, interpolation: int, padding: int, align_corners: bool) -> list[Tap]:
    stretch = (size - 1) / 2 if align_corners else size / 2
    position = (u + 1) * stretch - (0 if align_corners else 0.5)
    if interpolation == CUBIC:
        base = position.floor()
        taps = [
            (_padded(base + k, size, padding, align_corners)[0], *_cubic(position - base - k)) for k in (-1, 0, 1, 2)
        ]
        return [_inside(place, w, slope * stretch, size) for place, w, slope in taps]
    position, turn = _padded(position, size, padding, align_corners)
    if interpolation == NEAREST:
        return [_inside(position.round(), torch.ones_like(u), torch.zeros_like(u), size)]
    base, slope = position.floor(), stretch * turn
    f = position - base
    return [_inside(base, 1 - f, -slope, size), _inside(base + 1, f, slope, size)]


def _inside(place: Tensor, weight: Tensor, slope: Tensor, size: int) -> Tap:
    """An entry outside the image is 0, whatever its weight."""
    inside = (place >= 0) & (place <= size - 1)
    return Tap(
        torch.where(inside, place, 0).long(),
        torch.where(inside, weight, 0),
        torch.where(inside, slope, 0),
    )


def _padded(position: Tensor, size: int, padding: int, align_corners: bool) -> tuple[Tensor, Tensor]:
    """The position after padding, and its derivative by the one before: 1, 0 or −1."""
    turn = torch.ones_like(position)
    if padding == ZEROS:
        return position, turn
    if padding == REFLECTION:
        position, turn = _mirrored(position, *((0, size - 1) if align_corners else (-0.5, size - 0.5)))
    return position.clamp(0, size - 1), torch.where((position > 0) & (position < size - 1), turn, 0)


def _mirrored(position: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """A point between two mirrors: a triangle wave with the slope 1 or −1, and 0 where the mirrors meet."""
    width = high - low
    if width == 0:
        return torch.zeros_like(position), torch.zeros_like(position)
    away = position - low
    along = away.abs().remainder(2 * width)
    ahead = along < width
    turn = away.sign() * torch.where(ahead, 1.0, -1.0).to(position.dtype)
    return low + torch.where(ahead, along, 2 * width - along), turn


def _cubic(distance: Tensor, a: float = -0.75) -> tuple[Tensor, Tensor]:
    """Keys' kernel at p − j and its derivative by p.

    (a + 2)·|d|³ − (a + 3)·|d|² + 1 for |d| ≤ 1, and a·|d|³ − 5a·|d|² + 8a·|d| − 4a for 1 < |d| ≤ 2.
    """
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    near_slope = (3 * (a + 2) * d - 2 * (a + 3)) * d
    far_slope = (3 * a * d - 10 * a) * d + 8 * a
    return torch.where(d <= 1, near, far), torch.where(d <= 1, near_slope, far_slope) * distance.sign()
