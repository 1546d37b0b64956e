"""Models that make data: autoencoders, adversarial pairs, flows, diffusion, energies, fields of light."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    RelaxedOneHotCategorical,
    kl_divergence,
)
from torch.nn.utils.parametrizations import spectral_norm

from architectures.common import Built, Cases, Residual, images

CASES = Cases()


def mlp(*sizes: int, act: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


# --- autoencoders -------------------------------------------------------------------------------------------


@CASES
def variational_autoencoder() -> Built:
    class VAE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode, self.decode = mlp(6, 8, 4, act=nn.ReLU), mlp(2, 8, 6, act=nn.ReLU)

        def forward(self, x: Tensor) -> Tensor:
            mean, log_var = self.encode(x).chunk(2, 1)
            z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
            made = F.binary_cross_entropy_with_logits(self.decode(z), x, reduction="sum")
            return (made - 0.5 * (1 + log_var - mean.pow(2) - log_var.exp()).sum()) / len(x)

    model, x = VAE(), torch.rand(4, 6)
    return model, lambda: model(x)


@CASES
def beta_tc_autoencoder_by_distributions() -> Built:
    """The total correlation needs densities of every sample under every other's posterior."""
    model, x = nn.ModuleDict({"encode": mlp(6, 8, 4), "decode": mlp(2, 8, 12)}), torch.rand(4, 6)

    def loss() -> Tensor:
        mean, scale = model["encode"](x).chunk(2, -1)
        q = Independent(Normal(mean, F.softplus(scale)), 1)
        z = q.rsample()
        loc, log_scale = model["decode"](z).chunk(2, -1)
        p = Independent(Normal(loc, log_scale.exp()), 1)
        every = Normal(mean, F.softplus(scale)).log_prob(z.unsqueeze(1))
        correlation = every.sum(-1).logsumexp(1) - every.logsumexp(1).sum(-1)
        prior = Independent(Normal(torch.zeros(2), torch.ones(2)), 1)
        return (kl_divergence(q, prior) - p.log_prob(x) + correlation).mean()

    return model, loss


class Quantizer(nn.Module):
    """VQ-VAE: the nearest entry of a book, with a straight-through gradient and a commitment loss."""

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.book = nn.Embedding(n, dim)
        self.register_buffer("used", torch.zeros(n))

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        flat = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1])
        far = flat.square().sum(1, keepdim=True) + self.book.weight.square().sum(1) - 2 * flat @ self.book.weight.t()
        chosen = F.one_hot(far.argmin(1), len(self.used)).to(z.dtype)
        self.used.mul_(0.9).add_(chosen.sum(0), alpha=0.1)
        found = (chosen @ self.book.weight).view(len(z), *z.shape[2:], -1).permute(0, 3, 1, 2)
        loss = F.mse_loss(found, z.detach()) + 0.25 * F.mse_loss(found.detach(), z)
        return z + (found - z).detach(), loss


@CASES
def vq_vae() -> Built:
    encode, decode = nn.Conv2d(3, 4, 4, 2, 1), nn.ConvTranspose2d(4, 3, 4, 2, 1)
    model, x = nn.ModuleDict({"encode": encode, "book": Quantizer(5, 4), "decode": decode}), images(2)

    def loss() -> Tensor:
        z, commitment = model["book"](model["encode"](x))
        return F.mse_loss(model["decode"](z), x) + commitment

    return model, loss


@CASES
def sparse_autoencoder_with_dead_units_revived() -> Built:
    """Top-k activations scattered into zeros, unit-norm decoder, an auxiliary loss for what is left."""

    class Sparse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bias, self.encode = nn.Parameter(torch.randn(5)), nn.Linear(5, 12)
            self.decode = nn.Parameter(torch.randn(12, 5))

        def forward(self, x: Tensor) -> Tensor:
            unit = self.decode / self.decode.norm(dim=1, keepdim=True)
            before = F.relu(self.encode(x - self.bias))
            values, places = before.topk(3, dim=-1, sorted=False)
            made = torch.zeros_like(before).scatter_(-1, places, values) @ unit + self.bias
            rest, others = (x - made).detach(), before.scatter(-1, places, 0.0)
            return F.mse_loss(made, x) + 0.1 * F.mse_loss(others @ unit, rest) + 1e-2 * before.abs().sum(-1).mean()

    model, x = Sparse(), torch.randn(6, 5)
    return model, lambda: model(x)


@CASES
def gumbel_softmax_autoencoder() -> Built:
    model, x = nn.ModuleDict({"encode": mlp(6, 8, 12), "decode": mlp(12, 8, 6)}), torch.rand(3, 6)

    def loss() -> Tensor:
        logits = model["encode"](x).view(3, 3, 4)
        soft, hard = F.gumbel_softmax(logits, tau=0.7), F.gumbel_softmax(logits, tau=0.5, hard=True)
        q = logits.softmax(-1)
        code = model["decode"](soft.flatten(1)) + model["decode"](hard.flatten(1))
        relaxed = RelaxedOneHotCategorical(torch.tensor(0.6), logits=logits).rsample()
        kl = (q * ((q + 1e-12).log() + math.log(4))).sum(-1).mean()
        return F.mse_loss(code, x) + kl + F.mse_loss(model["decode"](relaxed.flatten(1)), x)

    return model, loss


# --- adversarial pairs --------------------------------------------------------------------------------------


def convolutional_pair() -> nn.ModuleDict:
    up = [nn.ConvTranspose2d(4, 4, 4, 2, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(True), nn.Conv2d(4, 3, 3, 1, 1)]
    judge = [nn.Conv2d(3, 4, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Flatten(), nn.Linear(64, 1)]
    generator = nn.Sequential(nn.Linear(5, 64), nn.Unflatten(1, (4, 4, 4)), *up, nn.Tanh())
    return nn.ModuleDict({"generator": generator, "judge": nn.Sequential(*judge)})


@CASES
def gan_judge_with_spectral_norm() -> Built:
    """The judge's step; the generator's images are detached, so that nothing reaches it."""
    model, x = convolutional_pair(), images(3)
    for i in (0, 3):
        spectral_norm(model["judge"][i])

    def loss() -> Tensor:
        made = model["generator"](torch.randn(3, 5)).detach()
        return F.relu(1 - model["judge"](x)).mean() + F.relu(1 + model["judge"](made)).mean()

    return model, loss


@CASES
def gan_generator_through_a_frozen_judge() -> Built:
    model = convolutional_pair()
    model["judge"].requires_grad_(False)
    return model, lambda: F.softplus(-model["judge"](model["generator"](torch.randn(3, 5)))).mean()


@CASES
def wgan_with_gradient_penalty() -> Built:
    """The gradient of the judge at points between real and made images is part of the loss."""
    model, x = convolutional_pair(), images(3)

    def loss() -> Tensor:
        made, share = model["generator"](torch.randn(3, 5)), torch.rand(3, 1, 1, 1)
        between = (share * x + (1 - share) * made.detach()).requires_grad_()
        (slope,) = grad(model["judge"](between).sum(), between, create_graph=True)
        penalty = (slope.flatten(1).norm(2, dim=1) - 1).square().mean()
        return model["judge"](made).mean() - model["judge"](x).mean() + 10 * penalty

    return model, loss


@CASES
def stylegan_with_path_length_penalty() -> Built:
    class Modulated(nn.Module):
        """Weights modulated by a style and demodulated, as a grouped convolution over the batch; noise; blur."""

        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.weight, self.style = nn.Parameter(torch.randn(1, o, i, 3, 3)), nn.Linear(4, i)
            self.noise, self.bias = nn.Parameter(torch.tensor(0.1)), nn.Parameter(torch.zeros(1, o, 1, 1))

        def forward(self, x: Tensor, w: Tensor) -> Tensor:
            b, c, h, _ = x.shape
            weight = self.weight * self.style(w).view(b, 1, c, 1, 1)
            weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
            x = F.conv2d(x.reshape(1, b * c, h, h), weight.flatten(0, 1), padding=1, groups=b).view(b, -1, h, h)
            x = x + self.noise * torch.randn(b, 1, h, h) + self.bias
            return F.leaky_relu(x, 0.2) * math.sqrt(2)

    class Synthesis(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.map, self.start = mlp(4, 4, 4), nn.Parameter(torch.randn(1, 3, 2, 2))
            self.a, self.b = Modulated(3, 3), Modulated(3, 2)

        def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
            w = self.map(F.normalize(z, dim=1))
            x = F.interpolate(self.a(self.start.repeat(len(z), 1, 1, 1), w), scale_factor=2, mode="bilinear")
            return self.b(x, w), w

    model, z = Synthesis(), torch.randn(2, 4)

    def loss() -> Tensor:
        x, w = model(z)
        (slope,) = grad((x * torch.randn_like(x) / 4).sum(), w, create_graph=True)
        lengths = slope.square().sum(1).sqrt()
        return F.softplus(-x.mean((1, 2, 3))).mean() + (lengths - lengths.mean().detach()).square().mean()

    return model, loss


@CASES
def r1_regularized_judge() -> Built:
    model, x = mlp(4, 8, 8, 1, act=nn.Softplus), torch.randn(5, 4, requires_grad=True)

    def loss() -> Tensor:
        out = model(x)
        (slope,) = grad(out.sum(), x, create_graph=True)
        return F.softplus(-out).mean() + 5 * slope.square().sum(1).mean()

    return model, loss


@CASES
def cycle_gan() -> Built:
    def generator() -> nn.Sequential:
        block = Residual(
            nn.ReflectionPad2d(1), nn.Conv2d(3, 3, 3), nn.InstanceNorm2d(3), nn.ReLU(True), nn.Dropout(0.5)
        )
        return nn.Sequential(block, nn.Conv2d(3, 3, 1), nn.Tanh())

    patches = nn.Sequential(nn.Conv2d(3, 2, 4, 2), nn.LeakyReLU(0.2, True), nn.Conv2d(2, 1, 2))
    model, a, b = nn.ModuleList([generator(), generator(), patches]), images(1), images(1)

    def loss() -> Tensor:
        to_b, to_a, judge = model
        verdict = judge(to_b(a))
        there_and_back = F.l1_loss(to_a(to_b(a)), a) + F.l1_loss(to_b(to_a(b)), b)
        return F.mse_loss(verdict, torch.ones_like(verdict)) + 10 * there_and_back + F.l1_loss(to_b(b), b)

    return model, loss


# --- flows --------------------------------------------------------------------------------------------------


def normal_log_density(z: Tensor) -> Tensor:
    return -0.5 * (z.square() + math.log(2 * math.pi)).flatten(1).sum(1)


@CASES
def real_nvp() -> Built:
    class Coupling(nn.Module):
        def __init__(self, mask: Tensor) -> None:
            super().__init__()
            self.s, self.t = mlp(4, 6, 4), mlp(4, 6, 4, act=nn.ReLU)
            self.register_buffer("mask", mask)
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            kept = x * self.mask
            s = self.s(kept).tanh() * self.scale * (1 - self.mask)
            return kept + (1 - self.mask) * (x * s.exp() + self.t(kept)), s.sum(1)

    mask = torch.tensor([1.0, 0, 1, 0])
    model, x = nn.ModuleList([Coupling(mask), Coupling(1 - mask), Coupling(mask)]), torch.randn(5, 4)

    def loss() -> Tensor:
        z, log_det = x, torch.zeros(len(x))
        for layer in model:
            z, change = layer(z)
            log_det += change
        return -(normal_log_density(z) + log_det).mean()

    return model, loss


@CASES
def glow() -> Built:
    class Step(nn.Module):
        """Actnorm, an invertible 1×1 convolution with slogdet, an affine coupling of the halves."""

        def __init__(self, c: int) -> None:
            super().__init__()
            self.bias, self.log_scale = nn.Parameter(torch.randn(1, c, 1, 1)), nn.Parameter(torch.zeros(1, c, 1, 1))
            self.weight = nn.Parameter(torch.linalg.qr(torch.randn(c, c))[0])
            self.net = nn.Sequential(nn.Conv2d(c // 2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, c, 3, padding=1))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            places = x.shape[2] * x.shape[3]
            x = (x + self.bias) * self.log_scale.exp()
            x = F.conv2d(x, self.weight[:, :, None, None])
            a, b = x.chunk(2, 1)
            shift, raw = self.net(a).chunk(2, 1)
            scale = torch.sigmoid(raw + 2)
            log_det = places * (self.log_scale.sum() + torch.slogdet(self.weight)[1])
            return torch.cat([a, (b + shift) * scale], 1), log_det + scale.log().sum((1, 2, 3))

    model, x = nn.ModuleList([Step(4), Step(4)]), images(2, 1)

    def loss() -> Tensor:
        z = F.pixel_unshuffle(x + torch.rand_like(x) / 256, 2)
        log_det: Tensor | float = 0.0
        for step in model:
            z, change = step(z)
            log_det = log_det + change
        return -(normal_log_density(z) + log_det).mean() / (math.log(2) * z[0].numel())

    return model, loss


@CASES
def masked_autoregressive_flow() -> Built:
    class Masked(nn.Linear):
        """MADE: a product of the weights with a fixed mask."""

        def __init__(self, i: int, o: int, mask: Tensor) -> None:
            super().__init__(i, o)
            self.register_buffer("mask", mask)

        def forward(self, x: Tensor) -> Tensor:
            return F.linear(x, self.mask * self.weight, self.bias)

    class MAF(nn.Module):
        def __init__(self, d: int = 3) -> None:
            super().__init__()
            inner = torch.arange(8) % (d - 1)
            self.a = Masked(d, 8, (inner[:, None] >= torch.arange(d)).double())
            self.b = Masked(8, 2 * d, (torch.arange(d).repeat(2)[:, None] > inner).double())
            self.norm = nn.BatchNorm1d(d, affine=False)

        def forward(self, x: Tensor) -> Tensor:
            x = self.norm(x)
            mean, log_scale = self.b(self.a(x).relu()).chunk(2, 1)
            return normal_log_density((x - mean) * (-log_scale).exp()) - log_scale.sum(1)

    model, x = MAF(), torch.randn(6, 3)
    return model, lambda: -model(x).mean()


@CASES
def neural_spline_flow() -> Built:
    class Spline(nn.Module):
        """Monotone rational quadratics between knots, found by searchsorted (Durkan et al. 2019)."""

        def __init__(self, bins: int = 4) -> None:
            super().__init__()
            self.net, self.bins = mlp(1, 6, 3 * bins + 1), bins

        def knots(self, raw: Tensor) -> Tensor:
            shares = 0.05 + (1 - 0.05 * self.bins) * raw.softmax(-1)
            return F.pad(shares.cumsum(-1), (1, 0)) * 6 - 3

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            a, b = x.split(1, 1)
            w, h, d = self.net(a).split([self.bins, self.bins, self.bins + 1], -1)
            xs, ys, d = self.knots(w), self.knots(h), F.softplus(d) + 1e-3
            k = (torch.searchsorted(xs, b.detach().contiguous()) - 1).clamp(0, self.bins - 1)
            x0, x1, y0, y1 = xs.gather(1, k), xs.gather(1, k + 1), ys.gather(1, k), ys.gather(1, k + 1)
            d0, d1, s = d.gather(1, k), d.gather(1, k + 1), (y1 - y0) / (x1 - x0)
            t = (b - x0) / (x1 - x0)
            u = t * (1 - t)
            below = s + (d1 + d0 - 2 * s) * u
            y = y0 + (y1 - y0) * (s * t**2 + d0 * u) / below
            log_det = 2 * s.log() + (d1 * t**2 + 2 * s * u + d0 * (1 - t) ** 2).log() - 2 * below.log()
            return torch.cat([a, y], 1).flip(1), log_det.squeeze(1)

    model, x = nn.ModuleList([Spline(), Spline()]), torch.randn(6, 2).clamp(-2.5, 2.5)

    def loss() -> Tensor:
        z, total = x, 0.0
        for layer in model:
            z, log_det = layer(z)
            total = total + log_det
        return -(normal_log_density(z) + total).mean()

    return model, loss


@CASES
def continuous_flow_with_a_trace_estimate() -> Built:
    """FFJORD: the trace of a Jacobian, by a random vector and a gradient within each step of Euler's method."""
    model, x = mlp(3, 8, 2), torch.randn(5, 2)

    def loss() -> Tensor:
        z, noise, change = x.clone().requires_grad_(), torch.randn(5, 2).sign(), torch.zeros(5)
        for i in range(3):
            slope = model(torch.cat([z, torch.full((5, 1), i / 3)], 1))
            (product,) = grad((slope * noise).sum(), z, create_graph=True)
            z, change = z + slope / 3, change - (product * noise).sum(1) / 3
        return -(normal_log_density(z) - change).mean()

    return model, loss


# --- diffusion and scores -----------------------------------------------------------------------------------


class Denoiser(nn.Module):
    """A small U-Net with GroupNorm, attention and a sinusoidal embedding of time."""

    class Block(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.norm1, self.conv1 = nn.GroupNorm(2, i), nn.Conv2d(i, o, 3, padding=1)
            self.time, self.norm2 = nn.Linear(8, 2 * o), nn.GroupNorm(2, o)
            self.conv2, self.skip = nn.Conv2d(o, o, 3, padding=1), nn.Conv2d(i, o, 1) if i != o else nn.Identity()

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            h = self.conv1(F.silu(self.norm1(x)))
            scale, shift = self.time(F.silu(t))[:, :, None, None].chunk(2, 1)
            h = self.conv2(F.dropout(F.silu(self.norm2(h) * (1 + scale) + shift), 0.1))
            return self.skip(x) + h

    def __init__(self) -> None:
        super().__init__()
        self.time, self.kind = mlp(8, 8, 8, act=nn.SiLU), nn.Embedding(3, 8)
        self.first, self.a, self.b = nn.Conv2d(1, 4, 3, padding=1), self.Block(4, 4), self.Block(4, 6)
        self.down, self.up = nn.Conv2d(4, 4, 3, 2, 1), nn.Conv2d(6, 4, 3, padding=1)
        self.attention, self.c, self.last = (
            nn.MultiheadAttention(6, 2, batch_first=True),
            self.Block(8, 4),
            nn.Conv2d(4, 1, 1),
        )

    def forward(self, x: Tensor, t: Tensor, kind: Tensor) -> Tensor:
        angle = t.double()[:, None] * torch.exp(-math.log(10000) * torch.arange(4) / 4)
        t = self.time(torch.cat([angle.sin(), angle.cos()], -1)) + self.kind(kind)
        a = self.a(self.first(x), t)
        b = self.b(self.down(a), t)
        flat = b.flatten(2).mT
        b = b + self.attention(flat, flat, flat, need_weights=False)[0].mT.reshape(b.shape)
        b = self.up(F.interpolate(b, scale_factor=2.0, mode="nearest-exact"))
        return self.last(self.c(torch.cat([a, b], 1), t))


@CASES
def diffusion_step() -> Built:
    model, x, kind = Denoiser(), images(3, 1), torch.tensor([0, 1, 2])
    kept = torch.cumprod(1 - torch.linspace(1e-4, 0.02, 50), 0)

    def loss() -> Tensor:
        t, noise = torch.randint(0, 50, (3,)), torch.randn_like(x)
        a = kept[t].view(-1, 1, 1, 1)
        made = model(a.sqrt() * x + (1 - a).sqrt() * noise, t, kind)
        weight = (a / (1 - a)).clamp(max=5) / (a / (1 - a))
        return (weight * (made - noise) ** 2).mean()

    return model, loss


@CASES
def latent_consistency_with_a_moving_average() -> Built:
    """The teacher is a copy whose buffers follow the student's weights in place."""

    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp(3, 8, 2, act=nn.SiLU)
            for i, p in enumerate(self.net.parameters()):
                self.register_buffer(f"kept{i}", p.detach().clone())

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return x / (1 + t) + t / (1 + t) * self.net(torch.cat([x, t], 1))

        def taught(self, x: Tensor, t: Tensor) -> Tensor:
            with torch.no_grad():
                for (_, p), kept in zip(self.net.named_parameters(), self.buffers(), strict=True):
                    kept.lerp_(p, 0.05)
                weights = dict(zip([n for n, _ in self.net.named_parameters()], self.buffers(), strict=True))
                made = torch.func.functional_call(self.net, weights, torch.cat([x, t], 1))
                return x / (1 + t) + t / (1 + t) * made

    model, x = Student(), torch.randn(6, 2)

    def loss() -> Tensor:
        t, noise = torch.rand(6, 1), torch.randn(6, 2)
        a, b = model(x + noise * (t + 0.1), t + 0.1), model.taught(x + noise * t, t)
        return ((a - b).square().sum(1) + 1e-4).sqrt().mean()

    return model, loss


@CASES
def sliced_score_matching() -> Built:
    model, x = mlp(3, 8, 3, act=nn.Softplus), torch.randn(5, 3, requires_grad=True)

    def loss() -> Tensor:
        v, score = torch.randn_like(x), model(x)
        (product,) = grad((score * v).sum(), x, create_graph=True)
        return ((product * v).sum(1) + 0.5 * (score * v).sum(1) ** 2).mean()

    return model, loss


@CASES
def energy_model_with_langevin_samples() -> Built:
    """The samples come from gradients of the energy, taken within the recording, and are detached."""
    model, x = nn.Sequential(mlp(3, 8, 8, act=nn.SiLU), nn.Tanh(), nn.Linear(8, 1)), torch.randn(5, 3)

    def loss() -> Tensor:
        made = torch.randn_like(x)
        for _ in range(3):
            made.requires_grad_()
            (slope,) = grad(model(made).sum(), made)
            made = (made - 0.1 * slope + 0.05 * torch.randn_like(made)).detach()
        real, fake = model(x), model(made)
        return (real - fake).mean() + 0.1 * (real**2 + fake**2).mean()

    return model, loss


@CASES
def flow_matching_with_an_optimal_plan() -> Built:
    """Sinkhorn's algorithm pairs noise with data; a straight line's velocity is learned."""
    model, x = mlp(3, 8, 2), torch.randn(6, 2)

    def loss() -> Tensor:
        noise, t = torch.randn(6, 2), torch.rand(6, 1)
        with torch.no_grad():
            cost, f, g = torch.cdist(noise, x) ** 2, torch.zeros(6), torch.zeros(6)
            for _ in range(5):
                f = -0.1 * ((g - cost) / 0.1).logsumexp(1)
                g = -0.1 * ((f[:, None] - cost) / 0.1).logsumexp(0)
            pairs = Categorical(logits=(f[:, None] + g - cost) / 0.1).sample()
        target = x[pairs] - noise
        return F.mse_loss(model(torch.cat([noise + t * target, t], 1)), target)

    return model, loss


# --- energies, fields and mixtures --------------------------------------------------------------------------


@CASES
def hopfield_network() -> Built:
    class Hopfield(nn.Module):
        """Modern Hopfield retrieval, iterated to nearly a fixed point, and its energy as a loss."""

        def __init__(self) -> None:
            super().__init__()
            self.patterns, self.beta = nn.Parameter(torch.randn(6, 4)), nn.Parameter(torch.tensor(2.0))

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            for _ in range(4):
                x = (self.beta * x @ self.patterns.T).softmax(-1) @ self.patterns
            energy = -(self.beta * x @ self.patterns.T).logsumexp(-1) / self.beta + 0.5 * x.square().sum(-1)
            return x, energy

    model, x = Hopfield(), torch.randn(3, 4)

    def loss() -> Tensor:
        found, energy = model(x)
        return F.mse_loss(found, x) + energy.mean()

    return model, loss


@CASES
def restricted_boltzmann_machine() -> Built:
    class RBM(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.v, self.h = (
                nn.Parameter(torch.randn(5, 4)),
                nn.Parameter(torch.zeros(5)),
                nn.Parameter(torch.zeros(4)),
            )

        def free_energy(self, v: Tensor) -> Tensor:
            return -v @ self.v - F.softplus(v @ self.w + self.h).sum(1)

        def forward(self, v: Tensor) -> Tensor:
            made = v
            with torch.no_grad():
                for _ in range(2):
                    h = torch.bernoulli(torch.sigmoid(made @ self.w + self.h))
                    made = torch.bernoulli(torch.sigmoid(h @ self.w.T + self.v))
            return (self.free_energy(v) - self.free_energy(made)).mean()

    model, v = RBM(), (torch.rand(6, 5) > 0.5).double()
    return model, lambda: model(v)


@CASES
def radiance_field() -> Built:
    class NeRF(nn.Module):
        """Positions with sines and cosines, densities and colours, alpha compositing by a cumulative product."""

        def __init__(self) -> None:
            super().__init__()
            self.body, self.density = mlp(3 + 12, 8, 8, act=nn.ReLU), nn.Linear(8, 1)
            self.colour = nn.Sequential(nn.Linear(8 + 3, 6), nn.ReLU(), nn.Linear(6, 3), nn.Sigmoid())

        def forward(self, origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
            t = torch.linspace(0.5, 2, 6) + 0.2 * torch.rand(len(origin), 6)
            points = origin[:, None] + t[..., None] * direction[:, None]
            waves = [f(points * 2**i) for i in range(2) for f in (torch.sin, torch.cos)]
            h = F.relu(self.body(torch.cat([points, *waves], -1)))
            density = F.relu(self.density(h).squeeze(-1) + 0.1 * torch.randn(len(t), 6))
            colour = self.colour(torch.cat([h, direction[:, None].expand(-1, 6, -1)], -1))
            gaps = torch.cat([t.diff(), torch.full((len(t), 1), 1e10)], 1)
            alpha = 1 - torch.exp(-density * gaps)
            passed = torch.cumprod(torch.cat([torch.ones(len(t), 1), 1 - alpha + 1e-10], 1), 1)[:, :-1]
            weights = alpha * passed
            return (weights.unsqueeze(-1) * colour).sum(1), (weights * t).sum(1)

    model, origin, direction = NeRF(), torch.randn(4, 3), F.normalize(torch.randn(4, 3))
    wanted = torch.rand(4, 3)

    def loss() -> Tensor:
        colour, depth = model(origin, direction)
        return F.mse_loss(colour, wanted) + 0.01 * depth.var()

    return model, loss


@CASES
def signed_distance_field_of_sines() -> Built:
    """SIREN with an eikonal loss: the norm of the spatial gradient is to be 1, and the Hessian small."""

    class Sine(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.sin(3 * x)

    model, x = mlp(2, 6, 6, 1, act=Sine), torch.rand(5, 2) * 2 - 1

    def loss() -> Tensor:
        points = x.clone().requires_grad_()
        distance = model(points)
        (slope,) = grad(distance.sum(), points, create_graph=True)
        (bend,) = grad(slope.norm(dim=1).sum(), points, create_graph=True)
        return distance.abs().mean() + (slope.norm(dim=1) - 1).abs().mean() + 0.1 * bend.square().mean()

    return model, loss


@CASES
def hash_grid_field() -> Built:
    """Instant NGP: features from hashed corners of grids of several resolutions, weighted trilinearly."""

    class Grid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tables, self.net = nn.ModuleList(nn.Embedding(16, 2) for _ in range(2)), mlp(4, 6, 1, act=nn.ReLU)
            corners = torch.cartesian_prod(*[torch.tensor([0, 1])] * 3)
            self.register_buffer("corners", corners)

        def forward(self, x: Tensor) -> Tensor:
            features = []
            for level, table in enumerate(self.tables):
                scaled = x * 3 * 2**level
                base = scaled.floor().long()
                part = (scaled - base).unsqueeze(1)
                at = base.unsqueeze(1) + self.corners
                hashed = (at[..., 0] ^ (at[..., 1] * 2654435761) ^ (at[..., 2] * 805459861)) % 16
                weight = torch.where(self.corners.bool(), part, 1 - part).prod(-1, keepdim=True)
                features.append((weight * table(hashed)).sum(1))
            return self.net(torch.cat(features, -1))

    model, x = Grid(), torch.rand(6, 3)
    return model, lambda: F.mse_loss(model(x), x.prod(1, keepdim=True))


@CASES
def gaussian_splatting() -> Built:
    """Projected Gaussians with covariances from quaternions and scales, sorted by depth, blended over a small image."""

    class Splats(nn.Module):
        def __init__(self, n: int = 5) -> None:
            super().__init__()
            self.mean, self.turn = nn.Parameter(torch.randn(n, 3) * 0.5), nn.Parameter(torch.randn(n, 4))
            self.scale, self.colour = nn.Parameter(torch.randn(n, 3) * 0.3 - 1), nn.Parameter(torch.randn(n, 3))
            self.opacity = nn.Parameter(torch.zeros(n))

        def forward(self) -> Tensor:
            r, x, y, z = F.normalize(self.turn, dim=1).unbind(1)
            rows = [1 - 2 * (y * y + z * z), 2 * (x * y - r * z), 2 * (x * z + r * y)]
            rows += [2 * (x * y + r * z), 1 - 2 * (x * x + z * z), 2 * (y * z - r * x)]
            rotated = torch.stack([*rows, 2 * (x * z - r * y), 2 * (y * z + r * x), 1 - 2 * (x * x + y * y)], -1).view(
                -1, 3, 3
            )
            m = rotated @ torch.diag_embed(self.scale.exp())
            flat = (m @ m.mT)[:, :2, :2] + 0.05 * torch.eye(2)
            pixels = torch.cartesian_prod(torch.linspace(-1, 1, 4), torch.linspace(-1, 1, 4))
            order = self.mean[:, 2].argsort()
            apart = pixels[None] - self.mean[:, None, :2]
            power = torch.einsum("npi,nij,npj->np", apart, torch.linalg.inv(flat), apart)
            alpha = (self.opacity.sigmoid()[:, None] * torch.exp(-0.5 * power)).index_select(0, order).clamp(max=0.99)
            passed = torch.cat([torch.ones(1, 16), (1 - alpha).cumprod(0)[:-1]])
            return torch.einsum("np,nc->pc", alpha * passed, self.colour[order].sigmoid())

    model, wanted = Splats(), torch.rand(16, 3)
    return model, lambda: F.l1_loss(model(), wanted)


@CASES
def mixture_density_network() -> Built:
    model, x, y = mlp(2, 8, 3 * 5), torch.randn(6, 2), torch.randn(6, 2)

    def loss() -> Tensor:
        logits, mean, scale = model(x).split([3, 6, 6], -1)
        each = Independent(Normal(mean.view(-1, 3, 2), F.softplus(scale).view(-1, 3, 2)), 1)
        return -MixtureSameFamily(Categorical(logits=logits), each).log_prob(y).mean()

    return model, loss


@CASES
def neural_process() -> Built:
    class Process(nn.Module):
        """A set of points becomes a latent normal, whose samples are decoded at other places."""

        def __init__(self) -> None:
            super().__init__()
            self.each, self.latent, self.decode = mlp(2, 8, 6), nn.Linear(6, 4), mlp(3, 8, 2)

        def posterior(self, x: Tensor, y: Tensor) -> Normal:
            mean, scale = self.latent(self.each(torch.cat([x, y], -1)).mean(1)).chunk(2, -1)
            return Normal(mean, 0.1 + 0.9 * torch.sigmoid(scale))

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            whole, part = self.posterior(x, y), self.posterior(x[:, :3], y[:, :3])
            z = whole.rsample().unsqueeze(1).expand(-1, x.shape[1], -1)
            mean, scale = self.decode(torch.cat([x, z], -1)).chunk(2, -1)
            fit = Normal(mean, 0.1 + F.softplus(scale)).log_prob(y).sum((1, 2))
            return (kl_divergence(whole, part).sum(1) - fit).mean()

    model, x = Process(), torch.rand(3, 6, 1)
    return model, lambda: model(x, (6 * x).sin())


@CASES
def deep_kalman_filter() -> Built:
    class Filter(nn.Module):
        """Exact Kalman updates with learned matrices, and a low-rank normal for the observations' noise."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.c = nn.Parameter(torch.eye(3) + 0.1 * torch.randn(3, 3)), nn.Parameter(torch.randn(2, 3))
            self.q, self.r = nn.Parameter(torch.randn(3, 3) * 0.3), nn.Parameter(torch.zeros(2))

        def forward(self, observed: Tensor) -> Tensor:
            mean, cov, total = torch.zeros(3), torch.eye(3), 0.0
            noise, drift = torch.diag(F.softplus(self.r)), self.q @ self.q.T + 0.01 * torch.eye(3)
            for y in observed:
                mean, cov = self.a @ mean, self.a @ cov @ self.a.T + drift
                s = self.c @ cov @ self.c.T + noise
                total = total + MultivariateNormal(self.c @ mean, s).log_prob(y)
                gain = torch.linalg.solve(s, self.c @ cov).T
                mean = mean + gain @ (y - self.c @ mean)
                cov = torch.addmm(cov, gain, self.c @ cov, alpha=-1)
            return -total

    model, observed = Filter(), torch.randn(5, 2)
    return model, lambda: model(observed)
