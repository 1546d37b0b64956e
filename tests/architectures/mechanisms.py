"""Unusual ways to compute: gradients within the loss, solvers, checkpoints, parametrizations, writes."""

from __future__ import annotations

import copy
import math
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function, grad
from torch.func import functional_call, hessian, jacrev, stack_module_state, vmap
from torch.nn.utils import parametrize, prune
from torch.nn.utils.parametrizations import orthogonal, spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from architectures.common import Built, Cases, Residual, images, labels

CASES = Cases()


def mlp(*sizes: int, act: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


def fitted(model: nn.Module, i: int = 4, o: int = 3, n: int = 5) -> Built:
    x, y = torch.randn(n, i), torch.randn(n, o)
    return model, lambda: F.mse_loss(model(x), y)


# --- differential equations and solvers ---------------------------------------------------------------------


@CASES
def neural_ode_by_euler_and_runge_kutta() -> Built:
    class ODE(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.field, self.span = mlp(4, 8, 3), nn.Parameter(torch.tensor(1.0))

        def slope(self, t: float, x: Tensor) -> Tensor:
            return self.field(torch.cat([x, torch.full_like(x[:, :1], t)], 1))

        def forward(self, x: Tensor) -> Tensor:
            h, euler = self.span / 3, x
            for i in range(3):
                t = i / 3
                k1 = self.slope(t, x)
                k2 = self.slope(t + 1 / 6, x + h / 2 * k1)
                k3 = self.slope(t + 1 / 6, x + h / 2 * k2)
                k4 = self.slope(t + 1 / 3, x + h * k3)
                x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
                euler = torch.add(euler, self.slope(t, euler), alpha=1 / 3)
            return x + 0.1 * euler

    return fitted(ODE(), 3)


@CASES
def neural_stochastic_differential_equation() -> Built:
    class SDE(nn.Module):
        """Euler and Maruyama's steps, with the divergence of the drifts added up (latent SDE)."""

        def __init__(self) -> None:
            super().__init__()
            self.drift, self.prior, self.spread = mlp(3, 6, 3), mlp(3, 6, 3), mlp(3, 6, 3)

        def forward(self, x: Tensor) -> Tensor:
            path, cost = [x], 0.0
            for _ in range(4):
                g = self.spread(x).sigmoid() + 0.1
                u = (self.drift(x) - self.prior(x)) / g
                cost = cost + 0.5 * u.square().sum(1) / 4
                x = x + self.drift(x) / 4 + g * torch.randn_like(x) * 0.5
                path.append(x)
            return torch.stack(path).square().mean() + cost.mean()

    model, x = SDE(), torch.randn(4, 3)
    return model, lambda: model(x)


@CASES
def neural_controlled_differential_equation() -> Built:
    class CDE(nn.Module):
        """Driven by cubic splines through the data, whose coefficients solve a tridiagonal system."""

        def __init__(self) -> None:
            super().__init__()
            self.start, self.field, self.out = nn.Linear(2, 4), mlp(4, 8, 8), nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            n = x.shape[1]
            a = torch.diag(torch.full((n,), 4.0)) + torch.diag(torch.ones(n - 1), 1) + torch.diag(torch.ones(n - 1), -1)
            slopes = torch.linalg.solve(a, 3 * torch.gradient(x, dim=1)[0] * 2)
            z = self.start(x[:, 0])
            for i in range(n):
                z = z + torch.einsum("bij,bj->bi", self.field(z).tanh().view(-1, 4, 2), slopes[:, i]) / 4
            return self.out(z)

    model, x, y = CDE(), torch.randn(3, 5, 2), torch.randn(3, 1)
    return model, lambda: F.mse_loss(model(x), y)


@CASES
def deep_equilibrium_model() -> Built:
    """The fixed point is found without gradients; one more step has one (Bai et al. 2019, Fung et al. 2022)."""

    class DEQ(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.u, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
            self.w.weight.data.mul_(0.3)

        def forward(self, x: Tensor) -> Tensor:
            injected, z = self.u(x), torch.zeros_like(x)
            with torch.no_grad():
                for _ in range(30):
                    z = torch.tanh(self.w(z) + injected)
            return self.out(torch.tanh(self.w(z) + injected))

    return fitted(DEQ())


@CASES
def implicit_layer_as_a_function() -> Built:
    """Newton's iterations in the forward of a custom Function; its backward solves a linear system."""

    class CubeRoot(Function):
        @staticmethod
        def forward(ctx, c: Tensor) -> Tensor:
            x = torch.ones_like(c)
            for _ in range(40):
                x = x - (x**3 + x - c) / (3 * x**2 + 1)
            ctx.save_for_backward(x)
            return x

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return g / (3 * x**2 + 1)

    class Implicit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(CubeRoot.apply(self.a(x)))

    return fitted(Implicit())


@CASES
def optimization_layer() -> Built:
    """A quadratic program with equality constraints: its optimality conditions are one linear system (OptNet)."""

    class QP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.root, self.a, self.net = (
                nn.Parameter(torch.randn(3, 3)),
                nn.Parameter(torch.randn(1, 3)),
                nn.Linear(4, 3),
            )

        def forward(self, x: Tensor) -> Tensor:
            q = self.root @ self.root.T + 0.1 * torch.eye(3)
            kkt = torch.block_diag(q, torch.zeros(1, 1))
            kkt[3:, :3] = self.a
            kkt[:3, 3:] = self.a.T
            right = torch.cat([-self.net(x), torch.ones(len(x), 1)], 1)
            lu, pivots = torch.linalg.lu_factor(kkt)
            return torch.linalg.lu_solve(lu, pivots, right.T).T[:, :3]

    return fitted(QP())


@CASES
def lie_group_layers() -> Built:
    class Lie(nn.Module):
        """Rotations by matrix exponentials, a Cayley transform, quaternions, Rodrigues' formula."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.r = (nn.Parameter(torch.randn(3, 3) * 0.5) for _ in range(3))
            self.axis = nn.Parameter(torch.randn(3))

        def forward(self, x: Tensor) -> Tensor:
            skew = self.a.triu(1) - self.a.triu(1).mT
            other = self.b - self.b.T
            cayley = torch.linalg.solve(torch.eye(3) + other, torch.eye(3) - other)
            angle = torch.linalg.vector_norm(self.axis)
            k = torch.zeros(3, 3).index_put(
                (torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([1, 2, 0, 2, 0, 1])),
                torch.stack([-self.axis[2], self.axis[1], self.axis[2], -self.axis[0], -self.axis[1], self.axis[0]])
                / angle,
            )
            rodrigues = torch.eye(3) + angle.sin() * k + (1 - angle.cos()) * k @ k
            mirrors = torch.linalg.householder_product(self.r, self.r.diagonal().sigmoid())
            q, r = torch.linalg.qr(self.r + 2 * torch.eye(3))
            return x @ torch.linalg.matrix_exp(skew) @ cayley @ rodrigues @ mirrors @ (q + 0.1 * r)

    return fitted(Lie(), 3)


# --- physics: gradients within the loss ---------------------------------------------------------------------


@CASES
def physics_informed_network() -> Built:
    """Burgers' equation: two derivatives by autograd within the loss."""
    model, points = mlp(2, 8, 8, 1), torch.rand(6, 2)

    def loss() -> Tensor:
        t, x = (points[:, i : i + 1].clone().requires_grad_() for i in (0, 1))
        u = model(torch.cat([t, x], 1))
        ut, ux = grad(u.sum(), (t, x), create_graph=True)
        (uxx,) = grad(ux.sum(), x, create_graph=True)
        start = model(torch.cat([torch.zeros_like(x), x], 1))
        return (ut + u * ux - 0.01 / math.pi * uxx).square().mean() + F.mse_loss(start, -(math.pi * x.detach()).sin())

    return model, loss


@CASES
def hamiltonian_network() -> Built:
    """The field is the rotated gradient of a learned energy; two leapfrog steps."""
    model, q0, p0, q1 = mlp(4, 8, 1), torch.randn(5, 2), torch.randn(5, 2), torch.randn(5, 2)

    def slopes(q: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
        return grad(model(torch.cat([q, p], 1)).sum(), (q, p), create_graph=True)

    def loss() -> Tensor:
        q, p = q0.clone().requires_grad_(), p0.clone().requires_grad_()
        for _ in range(2):
            p = p - 0.05 * slopes(q, p)[0]
            q = q + 0.1 * slopes(q, p)[1]
            p = p - 0.05 * slopes(q, p)[0]
        return F.mse_loss(q, q1)

    return model, loss


@CASES
def lagrangian_network() -> Built:
    """Accelerations from the Hessian of a learned Lagrangian, by torch.func."""
    model, q, v, wanted = mlp(4, 6, 1, act=nn.Softplus), torch.randn(3, 2), torch.randn(3, 2), torch.randn(3, 2)

    def lagrangian(q: Tensor, v: Tensor) -> Tensor:
        return model(torch.cat([q, v])).squeeze() + (v**2).sum()

    def acceleration(q: Tensor, v: Tensor) -> Tensor:
        mass = hessian(lagrangian, 1)(q, v)
        force = jacrev(lagrangian, 0)(q, v) - jacrev(jacrev(lagrangian, 1), 0)(q, v) @ v
        return torch.linalg.solve(mass, force)

    return model, lambda: F.mse_loss(torch.stack([acceleration(a, b) for a, b in zip(q, v, strict=True)]), wanted)


@CASES
def laplacian_by_vmap() -> Built:
    model, x = mlp(3, 6, 1), torch.rand(4, 3)

    def loss() -> Tensor:
        trace = vmap(lambda p: hessian(lambda z: model(z).squeeze())(p).diagonal().sum())(x)
        return trace.square().mean() + model(x).square().mean()

    return model, loss


@CASES
def jacobian_regularization() -> Built:
    model, x, y = mlp(4, 6, 3), torch.randn(5, 4), labels(5, classes=3)

    def loss() -> Tensor:
        points = x.clone().requires_grad_()
        logits = model(points)
        rows = [grad(logits[:, i].sum(), points, create_graph=True)[0] for i in range(3)]
        contracted = torch.autograd.functional.jacobian(lambda p: model(p).sum(0), x, create_graph=True)
        return F.cross_entropy(logits, y) + 0.1 * torch.stack(rows).square().sum() / 5 + contracted.square().mean()

    return model, loss


@CASES
def forward_mode_tangents() -> Built:
    model, x, v = mlp(3, 6, 2), torch.randn(4, 3), torch.randn(4, 3)

    def loss() -> Tensor:
        out, tangent = torch.func.jvp(model, (x,), (v,))
        return out.square().mean() + tangent.square().mean()

    return model, loss


@CASES
def contractive_and_denoising_autoencoder() -> Built:
    """The Frobenius norm of the encoder's Jacobian in closed form; virtual adversarial noise by power iteration."""
    model, x = nn.ModuleDict({"encode": nn.Linear(5, 4), "decode": nn.Linear(4, 5)}), torch.randn(6, 5)

    def loss() -> Tensor:
        h = model["encode"](x + 0.1 * torch.randn_like(x)).sigmoid()
        contraction = ((h * (1 - h)).square() @ model["encode"].weight.square().sum(1)).mean()
        d = F.normalize(torch.randn_like(x)).mul_(1e-1).requires_grad_()
        clean = model["encode"](x).log_softmax(1)
        far = F.kl_div(model["encode"](x + d).log_softmax(1), clean.detach().exp(), reduction="batchmean")
        (d,) = grad(far, d)
        moved = model["encode"](x + 0.5 * F.normalize(d.detach())).log_softmax(1)
        virtual = F.kl_div(moved, clean.exp(), reduction="batchmean")
        return F.mse_loss(model["decode"](h), x) + 0.1 * contraction + virtual

    return model, loss


@CASES
def adversarial_training_by_projected_ascent() -> Built:
    model, x, y = (
        nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, 3)),
        torch.randn(6, 5),
        labels(6, classes=3),
    )

    def loss() -> Tensor:
        d = torch.zeros_like(x)
        for _ in range(3):
            d.requires_grad_()
            (slope,) = grad(F.cross_entropy(model(x + d), y), d)
            d = (d + 0.1 * slope.sign()).clamp(-0.2, 0.2).detach()
        return F.cross_entropy(model(x + d), y)

    return model, loss


# --- learning to learn --------------------------------------------------------------------------------------


@CASES
def maml() -> Built:
    """One inner step with create_graph, then the loss of the moved weights on other data."""
    model, (x, y), (u, v) = mlp(1, 8, 1), torch.randn(2, 5, 1), torch.randn(2, 5, 1)

    def loss() -> Tensor:
        weights, total = dict(model.named_parameters()), 0.0
        for _ in range(2):
            inner = F.mse_loss(functional_call(model, weights, (x,)), y)
            slopes = grad(inner, list(weights.values()), create_graph=True)
            weights = {n: w - 0.1 * s for (n, w), s in zip(weights.items(), slopes, strict=True)}
            total = total + F.mse_loss(functional_call(model, weights, (u,)), v)
        return total

    return model, loss


@CASES
def maml_of_first_order() -> Built:
    model, (x, y), (u, v) = mlp(1, 8, 1), torch.randn(2, 5, 1), torch.randn(2, 5, 1)

    def loss() -> Tensor:
        slopes = grad(F.mse_loss(model(x), y), list(model.parameters()))
        weights = {n: w - 0.1 * s for (n, w), s in zip(model.named_parameters(), slopes, strict=True)}
        return F.mse_loss(functional_call(model, weights, (u,)), v)

    return model, loss


@CASES
def learned_optimizer() -> Built:
    """An LSTM turns gradients into steps of a small problem, over several steps."""
    model = nn.ModuleDict({"lstm": nn.LSTMCell(2, 5), "out": nn.Linear(5, 1)})
    a, b = torch.randn(4, 4), torch.randn(4)

    def loss() -> Tensor:
        theta, state, total = torch.zeros(4, requires_grad=True), None, 0.0
        for _ in range(3):
            value = (a @ theta - b).square().mean()
            (slope,) = grad(value, theta, retain_graph=True)
            seen = torch.stack([(slope.abs() + 1e-8).log() / 10, slope.sign()], 1)
            state = model["lstm"](seen, state)
            theta = theta + 0.1 * model["out"](state[0]).squeeze(1)
            total = total + (a @ theta - b).square().mean()
        return total

    return model, loss


@CASES
def learned_learning_rates_and_data_weights() -> Built:
    """Meta-weights: the data's weights are learned through one step of the model they train."""
    model, x, y, clean = (
        nn.ModuleDict({"net": mlp(3, 5, 1), "weigh": mlp(1, 4, 1)}),
        torch.randn(6, 3),
        torch.randn(6, 1),
        torch.randn(6, 3),
    )
    model.register_parameter("rate", nn.Parameter(torch.tensor(-2.0)))

    def loss() -> Tensor:
        each = F.mse_loss(model["net"](x), y, reduction="none")
        weighted = (model["weigh"](each.detach()).sigmoid() * each).mean()
        names, weights = zip(*model["net"].named_parameters(), strict=True)
        slopes = grad(weighted, weights, create_graph=True)
        moved = {n: w - model.rate.exp() * s for n, w, s in zip(names, weights, slopes, strict=True)}
        return functional_call(model["net"], moved, (clean,)).square().mean()

    return model, loss


@CASES
def hypernetwork() -> Built:
    """One network makes another's weights from a condition, for each sample by vmap too."""
    target = mlp(2, 4, 1)
    sizes = {n: p.shape for n, p in target.named_parameters()}
    total = sum(s.numel() for s in sizes.values())
    model, condition, x, y = mlp(3, 6, total), torch.randn(5, 3), torch.randn(5, 7, 2), torch.randn(5, 7, 1)

    def weights_of(flat: Tensor) -> dict[str, Tensor]:
        pieces = flat.split([s.numel() for s in sizes.values()])
        return {n: piece.view(s) for (n, s), piece in zip(sizes.items(), pieces, strict=True)}

    def loss() -> Tensor:
        flat = model(condition)
        one = functional_call(target, weights_of(flat[0]), (x[0],))
        every = vmap(lambda f, p: functional_call(target, weights_of(f), (p,)))(flat, x)
        return F.mse_loss(every, y) + one.abs().mean()

    return model, loss


@CASES
def ensemble_by_vmap() -> Built:
    members = [mlp(4, 6, 3) for _ in range(3)]
    weights, buffers = stack_module_state(members)
    model, base = (
        nn.ParameterDict({n.replace(".", "_"): w for n, w in weights.items()}),
        copy.deepcopy(members[0]).to("meta"),
    )
    x, y = torch.randn(5, 4), labels(5, classes=3)

    def loss() -> Tensor:
        stacked = {n: model[n.replace(".", "_")] for n in weights}
        logits = vmap(lambda w, b: functional_call(base, (w, b), (x,)))(stacked, buffers)
        return F.cross_entropy(logits.flatten(0, 1), y.repeat(3)) - 0.1 * logits.var(0).mean()

    return model, loss


@CASES
def private_learning_by_gradients_of_each_sample() -> Built:
    """The penalty is on the norms of the samples' own gradients, by vmap of torch.func.grad."""
    model, x, y = mlp(3, 4, 1), torch.randn(5, 3), torch.randn(5, 1)

    def loss() -> Tensor:
        weights = dict(model.named_parameters())

        def of_one(w: dict[str, Tensor], a: Tensor, b: Tensor) -> Tensor:
            return F.mse_loss(functional_call(model, w, (a,)), b)

        slopes = vmap(torch.func.grad(of_one), in_dims=(None, 0, 0))(weights, x, y)
        norms = torch.cat([s.flatten(1) for s in slopes.values()], 1).norm(dim=1)
        return F.mse_loss(model(x), y) + 0.1 * F.relu(norms - 0.1).square().mean()

    return model, loss


# --- checkpoints --------------------------------------------------------------------------------------------


class Checkpointed(nn.Module):
    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.blocks = nn.ModuleList(Residual(nn.Linear(6, 6), nn.GELU(), nn.Dropout(0.2)) for _ in range(3))
        self.use_reentrant = use_reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=self.use_reentrant)
        return self.last(x)


@CASES
def checkpointed_without_reentry() -> Built:
    return fitted(Checkpointed(False))


@CASES
def checkpointed_by_reentry() -> Built:
    return fitted(Checkpointed(True))


@CASES
def checkpointed_in_segments() -> Built:
    model, x = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.Tanh()) for _ in range(4))), torch.randn(5, 4)
    return model, lambda: checkpoint_sequential(model, 2, x, use_reentrant=False).square().sum()


@CASES
def saved_tensors_packed_by_hooks() -> Built:
    """What autograd saves goes through a pair of hooks."""
    model, x = mlp(4, 6, 3), torch.randn(5, 4)

    def loss() -> Tensor:
        with torch.autograd.graph.save_on_cpu():
            return model(x).square().sum()

    return model, loss


# --- custom Functions ---------------------------------------------------------------------------------------


class Reversible(Function):
    """RevNet: the backward pass computes the inputs from the outputs and saves nothing else."""

    @staticmethod
    def forward(ctx, f: nn.Module, g: nn.Module, a: Tensor, b: Tensor, *weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.f, ctx.g = f, g
        y = a + f(b)
        z = b + g(y)
        ctx.save_for_backward(y.detach(), z.detach(), *weights)
        return y, z

    @staticmethod
    def backward(ctx, dy: Tensor, dz: Tensor):
        y, z, *weights = ctx.saved_tensors
        n = len(list(ctx.f.parameters()))
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            gy = ctx.g(y)
            slopes = grad(gy, (y, *weights[n:]), dz)
            dy = dy + slopes[0]
            b = (z - gy).detach().requires_grad_()
            fb = ctx.f(b)
            to_f = grad(fb, (b, *weights[:n]), dy)
        return None, None, dy, dz + to_f[0], *to_f[1:], *slopes[1:]


@CASES
def reversible_network() -> Built:
    class RevNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pairs = nn.ModuleList(nn.ModuleList([mlp(3, 4, 3), mlp(3, 4, 3)]) for _ in range(2))
            self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            a, b = self.first(x).chunk(2, 1)
            for f, g in self.pairs:
                a, b = Reversible.apply(f, g, a, b, *f.parameters(), *g.parameters())
            return self.last(torch.cat([a, b], 1))

    return fitted(RevNet())


class MemoryEfficientSwish(Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        s = torch.sigmoid(x)
        return g * (s * (1 + x * (1 - s)))


class InPlaceLeaky(Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x.mul_(torch.where(x > 0, 1.0, 0.1))
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx, g: Tensor) -> Tensor:
        return g * torch.where(ctx.saved_tensors[0] > 0, 1.0, 0.1)


@CASES
def hand_made_activations() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(InPlaceLeaky.apply(self.b(MemoryEfficientSwish.apply(self.a(x)))))

    return fitted(Net())


@CASES
def low_rank_adapters() -> Built:
    """LoRA and DoRA over frozen weights, through a merged weight and through two products."""

    class Adapted(nn.Module):
        def __init__(self, i: int, o: int, is_merged: bool) -> None:
            super().__init__()
            self.base = nn.Linear(i, o).requires_grad_(False)
            self.a, self.b = nn.Parameter(torch.randn(2, i)), nn.Parameter(torch.randn(o, 2) * 0.1)
            self.length, self.is_merged = nn.Parameter(self.base.weight.norm(dim=1)), is_merged

        def forward(self, x: Tensor) -> Tensor:
            if not self.is_merged:
                return torch.addmm(self.base(x), F.dropout(x, 0.1) @ self.a.T, self.b.T, alpha=0.5) * self.length
            moved = self.base.weight + self.b @ self.a
            return F.linear(x, moved / moved.norm(dim=1, keepdim=True).detach() * self.length[:, None], self.base.bias)

    return fitted(nn.Sequential(Adapted(4, 6, True), nn.GELU(), Adapted(6, 3, False)))


# --- parametrizations ---------------------------------------------------------------------------------------


@CASES
def orthogonal_recurrence() -> Built:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x, self.h, self.out = nn.Linear(2, 4), orthogonal(nn.Linear(4, 4, bias=False)), nn.Linear(4, 3)
            self.wide = orthogonal(nn.Linear(4, 3, bias=False), orthogonal_map="cayley")
            self.tall = orthogonal(nn.Linear(3, 4, bias=False), orthogonal_map="householder")

        def forward(self, x: Tensor) -> Tensor:
            h = torch.zeros(len(x), 4)
            with parametrize.cached():
                for step in x.view(len(x), 2, 2).unbind(1):
                    h = torch.tanh(self.x(step) + self.h(h))
            return self.out(h + self.tall(self.wide(h)))

    return fitted(Recurrent())


@CASES
def parametrized_weights() -> Built:
    class Symmetric(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.triu() + x.triu(1).mT

    class Positive(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.softplus(x)

    conv = nn.Sequential(
        weight_norm(nn.Conv1d(1, 3, 3, padding=1), dim=1), nn.ReLU(), spectral_norm(nn.Conv1d(3, 1, 3, padding=1))
    )
    model = nn.Sequential(
        nn.Linear(4, 4), nn.Unflatten(1, (1, 4)), conv, nn.Flatten(), weight_norm(nn.Linear(4, 3), dim=None)
    )
    parametrize.register_parametrization(model[0], "weight", Symmetric())
    parametrize.register_parametrization(model[0], "weight", Positive())
    return fitted(model)


@CASES
def weight_standardization_and_pruning() -> Built:
    class Standardized(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            var, mean = torch.var_mean(self.weight, dim=(1, 2, 3), keepdim=True, unbiased=False)
            return self._conv_forward(x, (self.weight - mean) / torch.sqrt(var + 1e-5), self.bias)

    model = nn.Sequential(
        Standardized(3, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(144, 5)
    )
    prune.l1_unstructured(model[4], "weight", amount=0.4)
    x, y = images(2), labels(2)
    return model, lambda: F.cross_entropy(model(x), y)


@CASES
def binary_and_ternary_weights() -> Built:
    """XNOR-Net, learned step sizes (LSQ) and DoReFa: rounding with straight-through gradients."""

    class Round(Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:
            return x.round()

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:
            return g

    class Quantized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.step = nn.Linear(4, 6), nn.Linear(6, 3), nn.Parameter(torch.tensor(0.2))

        def forward(self, x: Tensor) -> Tensor:
            w = self.a.weight
            binary = w.sign() * w.abs().mean(1, keepdim=True)
            x = F.linear(x, w + (binary - w).detach(), self.a.bias).tanh()
            scaled = (self.b.weight / self.step).clamp(-3, 3)
            return F.linear(x, (scaled + (scaled.round() - scaled).detach()) * self.step, self.b.bias)

    return fitted(Quantized())


@CASES
def quantization_aware_training() -> Built:
    """PyTorch's own fake quantization, per tensor, per channel and with learned scales."""

    class Fake(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            w = torch.fake_quantize_per_tensor_affine(self.a.weight, 0.05, 0, -8, 7)
            scale = (self.b.weight.detach().abs().amax(1) / 7).float()
            v = torch.fake_quantize_per_channel_affine(
                self.b.weight, scale, torch.zeros(3, dtype=torch.int32), 0, -8, 7
            )
            return F.linear(F.linear(x, w, self.a.bias).relu(), v, self.b.bias)

    return fitted(Fake())


# --- structure of outputs and losses ------------------------------------------------------------------------


@CASES
def deep_supervision_with_frozen_parts() -> Built:
    """Losses at every depth, a frozen stage in evaluation mode, outputs in a dictionary of lists."""

    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.frozen = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)).requires_grad_(False)
            self.stages = nn.ModuleList(nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.ReLU()) for _ in range(3))
            self.heads = nn.ModuleList(nn.Linear(6, 3) for _ in range(3))

        def train(self, mode: bool = True) -> Deep:
            super().train(mode)
            self.frozen.eval()
            return self

        def forward(self, x: Tensor) -> dict[str, list[Tensor]]:
            h, logits, features = self.frozen(x), [], []
            for stage, head in zip(self.stages, self.heads, strict=True):
                h = h + stage(h)
                features.append(h)
                logits.append(head(h))
            return {"logits": logits, "features": features}

    model, x, y = Deep(), torch.randn(6, 4), labels(6, classes=3)

    def loss() -> Tensor:
        out = model(x)
        supervised = sum(0.5**i * F.cross_entropy(logits, y) for i, logits in enumerate(out["logits"][::-1]))
        return supervised + sum(f.pow(2).mean() for f in out["features"][:-1]) * 1e-2

    return model, loss


@CASES
def gradient_through_a_buffer() -> Built:
    """A fast weight kept in a buffer is written with what has a gradient; attention reads it in the same pass."""

    class Fast(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out, self.decay = nn.Linear(3, 9), nn.Linear(3, 2), nn.Parameter(torch.tensor(2.0))
            self.register_buffer("memory", torch.zeros(3, 3))

        def forward(self, x: Tensor) -> Tensor:
            self.memory = self.memory.detach().clone()
            out = []
            for q, k, v in (self.qkv(step).chunk(3) for step in x):
                k = k.softmax(0)
                self.memory = self.memory * self.decay.sigmoid() + torch.outer(v - self.memory @ k, k)
                out.append(self.memory @ q)
            made = self.out(torch.stack(out))
            self.memory = self.memory.detach()
            return made

    model, x, y = Fast(), torch.randn(5, 3), torch.randn(5, 2)
    return model, lambda: F.mse_loss(model(x), y)


@CASES
def running_statistics_written_with_a_gradient() -> Built:
    """Batch renormalization: the correction is detached, the running mean a buffer that is written in place."""

    class Renorm(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.w, self.b = nn.Parameter(torch.ones(c)), nn.Parameter(torch.zeros(c))
            self.register_buffer("mean", torch.zeros(c))
            self.register_buffer("std", torch.ones(c))

        def forward(self, x: Tensor) -> Tensor:
            mean, std = x.mean(0), x.std(0, unbiased=False) + 1e-5
            r = (std.detach() / self.std).clamp_(0.5, 2)
            d = ((mean.detach() - self.mean) / self.std).clamp_(-1, 1)
            self.mean += 0.1 * (mean.detach() - self.mean)
            self.std.copy_(torch.lerp(self.std, std.detach(), 0.1))
            return self.w * ((x - mean) / std * r + d) + self.b

    return fitted(nn.Sequential(nn.Linear(4, 6), Renorm(6), nn.ReLU(), nn.Linear(6, 3)))


@CASES
def group_equivariant_convolution() -> Built:
    class Rotated(nn.Module):
        """Filters turned by quarter turns and mirrored; a maximum over the group."""

        def __init__(self) -> None:
            super().__init__()
            self.weight, self.out = nn.Parameter(torch.randn(4, 3, 3, 3) * 0.3), nn.Linear(4, 5)

        def forward(self, x: Tensor) -> Tensor:
            turned = [torch.rot90(w, k, (2, 3)) for w in (self.weight, self.weight.flip(3)) for k in range(4)]
            y = F.conv2d(x, torch.cat(turned), padding=1).unflatten(1, (8, 4))
            return self.out(y.amax(1).relu().mean((2, 3)))

    model, x, y = Rotated(), images(2), labels(2)
    return model, lambda: F.cross_entropy(model(x), y)


@CASES
def complex_valued_network() -> Built:
    class Complex(nn.Module):
        """Linear layers over complex numbers, modReLU, unitary mixing; the loss reads magnitude and phase."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6, dtype=torch.complex128), nn.Linear(6, 3, dtype=torch.complex128)
            self.bias, self.phase = nn.Parameter(torch.randn(6) * 0.1), nn.Parameter(torch.randn(6))

        def forward(self, x: Tensor) -> Tensor:
            z = self.a(torch.complex(x, x.roll(1, 1)))
            size = z.abs()
            z = F.relu(size + self.bias) * z / (size + 1e-6)
            z = torch.fft.ifft(torch.fft.fft(z, norm="ortho") * torch.exp(1j * self.phase), norm="ortho")
            return self.b(torch.complex(F.relu(z.real), z.imag.tanh()))

    model, x, y = Complex(), torch.randn(5, 4), torch.randn(5, 3, dtype=torch.complex128)

    def loss() -> Tensor:
        z = model(x)
        return (
            (z - y).abs().square().mean()
            + 0.1 * z.angle().cos().mean()
            + (z * y.conj()).real.mean()
            + z.sgn().imag.mean()
        )

    return model, loss


# --- writes -------------------------------------------------------------------------------------------------


@CASES
def residuals_in_place() -> Built:
    class InPlace(nn.Module):
        """x += f(x) on many paths: on views, on slices, with fused writes."""

        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(4))
            self.out = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            a, b, c, d = self.layers
            h = a(x).clone()
            h += torch.tanh(b(h.clone()))
            h[:, :2] += c(h.clone())[:, 2:]
            h.narrow(1, 1, 2).mul_(h[:, :1].sigmoid().clone())
            h.add_(d(h.clone()).relu_(), alpha=0.5).clamp_(-3, 3)
            h[h > 1] *= 0.5
            h.masked_fill_(h < -2.5, 0.0)
            first = h.select(1, 0)
            first.addcmul_(h[:, 1].clone(), h[:, 2].exp(), value=0.1)
            h.t()[3].sub_(h.mean(1))
            return self.out(F.dropout(h, 0.2, inplace=True))

    return fitted(InPlace())


@CASES
def chunked_writes_into_a_tensor() -> Built:
    class Chunked(nn.Module):
        """A result is allocated first and filled by chunks, rows, masks, strides and copies."""

        def __init__(self) -> None:
            super().__init__()
            self.f, self.g, self.out = nn.Linear(4, 6), nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.empty(len(x), 6)
            for i in range(0, len(x), 2):
                y[i : i + 2] = self.f(x[i : i + 2])
            y[:, ::2] = y[:, ::2].clone().sin()
            even = torch.arange(len(x)) % 2 == 0
            y[even] = y[even] + self.g(x[even]).tanh()
            y.index_copy_(1, torch.tensor([5]), self.g(x)[:, :1])
            y[..., 1].copy_(x[:, 0] * y[..., 2])
            z = torch.zeros_like(y)
            z.narrow(1, 2, 2).copy_(y[:, :2])
            z.view(-1)[: y.numel() // 2].add_(y.flatten()[: y.numel() // 2])
            z.index_put_((torch.tensor([0, 1, 0]), torch.tensor([1, 1, 1])), y[0, :3], accumulate=True)
            z.scatter_add_(1, torch.zeros(len(x), 1, dtype=torch.long), y[:, 3:4])
            return self.out(z + y)

    return fitted(Chunked())


@CASES
def key_value_cache() -> Built:
    class Cached(nn.Module):
        """A preallocated cache filled step by step, read with growing slices; then rolled and written again."""

        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out = nn.Linear(4, 12), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            cache, out = torch.zeros(2, len(x), 4), []
            for t, step in enumerate(x):
                q, k, v = self.qkv(step).chunk(3)
                cache = cache.clone()
                cache[0, t], cache[1, t] = k, v
                weights = (cache[0, : t + 1] @ q / 2).softmax(0)
                out.append(weights @ cache[1, : t + 1])
            return self.out(torch.stack(out))

    return fitted(Cached())


@CASES
def padded_batches_built_in_place() -> Built:
    class Merge(nn.Module):
        """LLaVA: image features are scattered into the places of a special token; then pooled by segments."""

        def __init__(self) -> None:
            super().__init__()
            self.words, self.vision, self.out = nn.Embedding(7, 4), nn.Linear(5, 4), nn.Linear(4, 3)

        def forward(self, text: Tensor, image: Tensor) -> Tensor:
            x = self.words(text)
            mask = (text == 0).unsqueeze(-1).expand_as(x)
            x = x.masked_scatter(mask, self.vision(image))
            x = x.repeat_interleave(torch.tensor([1, 2]), 0)
            return self.out(torch.where(x.isnan(), 0, x).cummax(1).values.mean(1))

    model, text, image, y = Merge(), 1 + labels(2, 5, classes=6), torch.randn(3, 5), torch.randn(3, 3)
    text[0, 1], text[1, 0], text[1, 3] = 0, 0, 0
    return model, lambda: F.mse_loss(model(text, image), y)


@CASES
def penalties_over_all_weights() -> Built:
    """Weight decay, a global norm, an elastic pull towards older weights, all over one flat vector."""
    model, x, y = mlp(4, 6, 3), torch.randn(5, 4), torch.randn(5, 3)
    old = nn.utils.parameters_to_vector(model.parameters()).detach().clone() + 0.1

    def loss() -> Tensor:
        flat = nn.utils.parameters_to_vector(model.parameters())
        total = torch.linalg.vector_norm(torch.stack([p.norm() for p in model.parameters()]))
        return F.mse_loss(model(x), y) + 0.1 * total + 0.01 * flat.abs().sum() + (flat - old).square().dot(old.square())

    return model, loss


@CASES
def mixed_precision_casts() -> Built:
    """Parts run in single precision, as a mixed pipeline would, and are cast back."""

    class Casts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            h = self.a(x)
            scale = h.detach().float().abs().amax().double()
            return self.b((h / scale).type(torch.float64).to(torch.double).tanh() * scale.to(h))

    return fitted(Casts())


@CASES
def higher_derivatives_of_a_loss() -> Built:
    """Hessian-vector products and a sharpness penalty by two backward passes within the loss."""
    model, x, y = mlp(3, 5, 2), torch.randn(6, 3), torch.randn(6, 2)

    def loss() -> Tensor:
        weights = list(model.parameters())
        value = F.mse_loss(model(x), y)
        slopes = grad(value, weights, create_graph=True)
        v = [torch.randn_like(w) for w in weights]
        products = grad(slopes, weights, v, create_graph=True)
        trace = sum((a * b).sum() for a, b in zip(products, v, strict=True))
        return value + 0.01 * trace + 0.1 * sum(s.square().sum() for s in slopes)

    return model, loss


@CASES
def layers_called_by_hand() -> Built:
    """Modules called by hand, in parts, twice, and within closures; one is never called."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.unused = nn.Linear(4, 4), nn.Linear(2, 2)
            self.acts = [partial(F.leaky_relu, negative_slope=0.2), torch.sin, nn.Hardshrink(0.1), nn.Softshrink(0.1)]

        def forward(self, x: Tensor) -> Tensor:
            for act in self.acts:
                x = act(self.a(self.a(x)))
            w, b = self.a.parameters()
            return torch.addmm(b, x, w.T)[:, :3] + F.tanhshrink(x)[:, 1:] + F.softmin(x, 1)[:, :3]

    return fitted(Odd())
