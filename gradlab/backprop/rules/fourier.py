"""Fourier transforms, and the ways between real and complex numbers.

One derivation serves the transforms. Y = F·X with Fₖₙ = exp(∓2πi·k·n/N) is linear and F is symmetric, so the adjoint
Fᴴ = F̄ is the transform in the other direction; a normalization is a real factor, the same both ways. Where one side
is real, its half of the bins stands for all: bin N − k is the conjugate of bin k. Bins 0 and N/2 are their own
partners, every other one stands for two.

For a complex z = a + ib, PyTorch's gradient is ∂L/∂a + i·∂L/∂b, so that dL = Re(ḡ·dz).
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradlab.backprop.rules.table import Family

aten = torch.ops.aten
FOURIER = Family()


# --- transforms ---------------------------------------------------------------------------------------------


@FOURIER.vjp(aten._fft_c2c.default, "Y = F·X", "∂L/∂X = Fᴴ·G: the transform in the other direction")
def fft(g, y, x, dim, normalization, forward):
    return aten._fft_c2c(g, dim, normalization, not forward)


@FOURIER.vjp(
    aten._fft_r2c.default,
    "Y = F·x for a real x: all bins, or the half that stands for all",
    "∂L/∂x = Re(Fᴴ·G)",
)
def fft_of_real(g, y, x, dim, normalization, onesided):
    """Of one half, ∂L/∂xₙ = Re Σₖ gₖ·exp(2πi·k·n/N) over that half only.

    The transform from a half to real numbers adds each bin's partner, which doubles the real part: halving the bins
    that have one makes up for it.
    """
    if not onesided:
        return aten._fft_c2c(g, dim, normalization, False).real
    size = x.shape[dim[-1]]
    return aten._fft_c2r(g / _bins_stood_for(size, g, dim[-1]), dim, normalization, size)


@FOURIER.vjp(
    aten._fft_c2r.default,
    "y = Fᴴ·X, real, for the half X of the bins that stands for all",
    "∂L/∂Xₖ = (F·g)ₖ, doubled where bin k stands for two",
)
def fft_to_real(g, y, x, dim, normalization, last_dim_size):
    """yₙ = Σₖ wₖ·Re(xₖ·exp(2πi·k·n/N)) over the half, wₖ the number of bins that k stands for."""
    bins = aten._fft_r2c(g, dim, normalization, True)
    return bins * _bins_stood_for(last_dim_size, bins, dim[-1])


def _bins_stood_for(size: int, half: Tensor, dim: int) -> Tensor:
    """1 for the bins 0 and N/2, which are their own partners, else 2; shaped to scale ``half`` along ``dim``."""
    k = torch.arange(half.shape[dim], device=half.device)
    weight = torch.where((k == 0) | (2 * k == size), 1, 2)
    return weight.reshape([-1] + [1] * (half.dim() - 1 - dim % half.dim()))


# --- real and complex ---------------------------------------------------------------------------------------


@FOURIER.vjp(aten.complex.default, "z = a + i·b", "∂L/∂a = Re g, ∂L/∂b = Im g")
def complex_(g, z, a, b):
    return lambda: g.real, lambda: g.imag


@FOURIER.vjp(
    (aten.view_as_real.default, aten.view_as_real_copy.default),
    "y = (Re z, Im z), in a last dimension of its own",
    "∂L/∂z = g₁ + i·g₂",
)
def view_as_real(g, y, z):
    return torch.complex(g[..., 0], g[..., 1])


@FOURIER.vjp(
    (aten.view_as_complex.default, aten.view_as_complex_copy.default),
    "z = x₁ + i·x₂, along the last dimension",
    "∂L/∂x = (Re g, Im g)",
)
def view_as_complex(g, z, x):
    return torch.stack([g.real, g.imag], -1)


@FOURIER.vjp(
    aten.polar.default,
    "z = r·exp(i·φ)",
    "∂z/∂r = exp(i·φ), ∂z/∂φ = i·z",
    reads="z angle",
)
def polar(g, z, r, angle):
    """dL = Re(ḡ·dz): for r this is Re(ḡ·exp(iφ)), for φ it is Re(ḡ·i·z) = Im(g·z̄)."""
    return lambda: g.real * angle.cos() + g.imag * angle.sin(), lambda: (g * z.conj()).imag


@FOURIER.vjp(
    aten.angle.default,
    "y = the angle φ of z = r·exp(i·φ); 0 or π for a real z",
    "i·z/|z|², and 0 at 0; 0 for a real z",
    reads="z",
)
def angle(g, y, z):
    """From ln z = ln r + iφ, dφ = Im(dz/z) = Re(−i·z̄/|z|²·dz): turn z by a right angle, divide by |z|²."""
    if not z.is_complex():
        return torch.zeros_like(g)
    return torch.where(z == 0, 0, 1j * g / z.conj())
