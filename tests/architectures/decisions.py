"""Recommenders, learned representations, classical models, policies."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from architectures.common import Built, Cases, Residual, images, labels

CASES = Cases()


def mlp(*sizes: int, act: type[nn.Module] = nn.ReLU) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(i, o), act()]
    return nn.Sequential(*layers[:-1])


# --- recommenders -------------------------------------------------------------------------------------------


def clicked(model: nn.Module, *inputs: Tensor) -> Built:
    y = (torch.rand(len(inputs[-1])) > 0.5).double()
    return model, lambda: F.binary_cross_entropy_with_logits(model(*inputs).flatten(), y)


@CASES
def dlrm() -> Built:
    class DLRM(nn.Module):
        """Bags of categories and a bottom network interact by the dot products of all pairs."""

        def __init__(self, c: int = 4) -> None:
            super().__init__()
            self.bags = nn.ModuleList(nn.EmbeddingBag(n, c, mode="sum") for n in (5, 7, 3))
            self.bottom, self.top = mlp(3, 6, c), mlp(c + 6, 6, 1)

        def forward(self, offsets: list[Tensor], indices: list[Tensor], x: Tensor) -> Tensor:
            x = F.relu(self.bottom(x))
            all_ = torch.stack([x, *(bag(i, o) for bag, i, o in zip(self.bags, indices, offsets, strict=True))], 1)
            products = torch.bmm(all_, all_.transpose(1, 2))
            i, j = torch.tril_indices(4, 4, -1)
            return self.top(torch.cat([x, products[:, i, j]], 1))

    offsets = [torch.tensor([0, 2, 2, 5])] * 3
    indices = [labels(7, classes=n) for n in (5, 7, 3)]
    return clicked(DLRM(), offsets, indices, torch.randn(4, 3))


@CASES
def factorization_machine() -> Built:
    class FM(nn.Module):
        """Pairwise products of factors by the square of the sum, with a deep part (DeepFM)."""

        def __init__(self, n: int = 12, k: int = 3) -> None:
            super().__init__()
            self.bias, self.linear, self.factors = nn.Parameter(torch.zeros(1)), nn.Embedding(n, 1), nn.Embedding(n, k)
            self.deep = nn.Sequential(
                nn.Linear(4 * k, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 1)
            )

        def forward(self, fields: Tensor) -> Tensor:
            v = self.factors(fields)
            pairs = 0.5 * (v.sum(1).pow(2) - v.pow(2).sum(1)).sum(1, keepdim=True)
            return self.bias + self.linear(fields).sum(1) + pairs + self.deep(v.flatten(1))

    return clicked(FM(), labels(6, 4, classes=12))


@CASES
def deep_and_cross() -> Built:
    class Cross(nn.Module):
        """x₀·(xᵀw) + b + x, and the second version with a low-rank matrix; wide and deep side by side."""

        def __init__(self, d: int = 5) -> None:
            super().__init__()
            self.w, self.b = (
                nn.ParameterList(torch.randn(d, 1) * 0.5 for _ in range(2)),
                nn.ParameterList(torch.zeros(d) for _ in range(2)),
            )
            self.u, self.v = nn.Parameter(torch.randn(d, 2)), nn.Parameter(torch.randn(d, 2))
            self.deep, self.out = mlp(d, 6, 4), nn.Linear(d + 4, 1)

        def forward(self, x0: Tensor) -> Tensor:
            x = x0
            for w, b in zip(self.w, self.b, strict=True):
                x = x0 * (x @ w) + b + x
            x = x0 * (x @ self.v @ self.u.T) + x
            return self.out(torch.hstack([x, self.deep(x0)]))

    return clicked(Cross(), torch.randn(6, 5))


@CASES
def matrix_factorization_with_sparse_gradients() -> Built:
    class Factors(nn.Module):
        """Both tables' gradients are sparse tensors; ratings are ranked pairwise (BPR)."""

        def __init__(self) -> None:
            super().__init__()
            self.users, self.items = nn.Embedding(6, 3, sparse=True), nn.Embedding(8, 3, sparse=True)
            self.bias = nn.EmbeddingBag(8, 1, mode="sum", sparse=True)

        def score(self, user: Tensor, item: Tensor) -> Tensor:
            return (self.users(user) * self.items(item)).sum(1) + self.bias(item.unsqueeze(1)).squeeze(1)

        def forward(self, user: Tensor, liked: Tensor, other: Tensor) -> Tensor:
            return -F.logsigmoid(self.score(user, liked) - self.score(user, other)).mean()

    model, user, liked, other = Factors(), labels(7, classes=6), labels(7, classes=8), labels(7, classes=8)
    return model, lambda: model(user, liked, other)


@CASES
def two_towers_with_sampled_softmax() -> Built:
    """In-batch negatives, corrected by how often an item is drawn, with a learned temperature."""
    model = nn.ModuleDict({"user": mlp(4, 6, 3), "item": nn.Embedding(9, 3)})
    model.register_parameter("temperature", nn.Parameter(torch.tensor(0.1).log()))
    x, item = torch.randn(5, 4), torch.tensor([1, 4, 2, 4, 8])

    def loss() -> Tensor:
        u, v = F.normalize(model["user"](x), dim=1), F.normalize(model["item"](item), dim=1)
        logits = u @ v.T * (-model.temperature).exp() - (torch.bincount(item, minlength=9)[item] / 5).log()
        same = (item[:, None] == item) & ~torch.eye(5, dtype=torch.bool)
        return F.cross_entropy(logits.masked_fill_(same, -1e9), torch.arange(5))

    return model, loss


@CASES
def multi_gate_mixture_of_experts() -> Built:
    class MMoE(nn.Module):
        """Several tasks share experts through gates of their own; losses weighted by learned uncertainties."""

        def __init__(self) -> None:
            super().__init__()
            self.experts = nn.Parameter(torch.randn(3, 4, 5) * 0.5)
            self.gates, self.towers = nn.Parameter(torch.randn(2, 4, 3)), nn.ModuleList([mlp(5, 4, 1), mlp(5, 4, 1)])
            self.log_var = nn.Parameter(torch.zeros(2))

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            made = torch.relu(torch.einsum("bi,eio->beo", x, self.experts))
            gates = torch.einsum("bi,tie->tbe", x, self.gates).softmax(-1)
            mixed = torch.einsum("tbe,beo->tbo", gates, made)
            return {name: tower(m).squeeze(1) for name, tower, m in zip("ab", self.towers, mixed, strict=True)}

    model, x, y = MMoE(), torch.randn(6, 4), torch.randn(2, 6)

    def loss() -> Tensor:
        out = model(x)
        each = torch.stack([F.mse_loss(out["a"], y[0]), F.l1_loss(out["b"], y[1])])
        return (each * (-model.log_var).exp() + model.log_var).sum()

    return model, loss


@CASES
def session_recommender_with_list_losses() -> Built:
    """SASRec with ListNet, and LambdaRank's weights from sorted relevances."""

    class SASRec(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.items, self.places = nn.Embedding(10, 6, padding_idx=0), nn.Parameter(torch.randn(5, 6) * 0.1)
            self.block = nn.TransformerEncoderLayer(6, 2, 8, 0.2, batch_first=True)

        def forward(self, seen: Tensor) -> Tensor:
            mask = nn.Transformer.generate_square_subsequent_mask(seen.shape[1])
            out = self.block(self.items(seen) + self.places, src_mask=mask, is_causal=True)
            return out[:, -1] @ self.items.weight[1:].T

    model, seen, relevance = SASRec(), 1 + labels(3, 5, classes=9), torch.rand(3, 9)

    def loss() -> Tensor:
        scores = model(seen)
        rank = scores.argsort(1, descending=True).argsort(1)
        gain = (2**relevance - 1)[:, :, None] - (2**relevance - 1)[:, None]
        discount = (1 / (2.0 + rank).log2())[:, :, None] - (1 / (2.0 + rank).log2())[:, None]
        apart = scores[:, :, None] - scores[:, None]
        pairs = torch.where(gain > 0, (gain * discount).abs() * F.softplus(-apart), 0.0)
        return pairs.mean() - (relevance.softmax(1) * scores.log_softmax(1)).sum(1).mean()

    return model, loss


# --- learned representations --------------------------------------------------------------------------------


def views(n: int = 6, d: int = 5) -> tuple[Tensor, Tensor]:
    x = torch.randn(n, d)
    return x + 0.1 * torch.randn(n, d), x + 0.1 * torch.randn(n, d)


@CASES
def clip() -> Built:
    class CLIP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(16, 5))
            self.words, self.block = nn.Embedding(9, 6), nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True)
            self.text, self.logit_scale = (
                nn.Parameter(torch.randn(6, 5)),
                nn.Parameter(torch.tensor(math.log(1 / 0.07))),
            )

        def forward(self, image: Tensor, text: Tensor) -> Tensor:
            a = self.image(image)
            b = self.block(self.words(text))[torch.arange(len(text)), text.argmax(-1)] @ self.text
            a, b = a / a.norm(dim=1, keepdim=True), b / b.norm(dim=1, keepdim=True)
            return self.logit_scale.exp().clamp(max=100) * a @ b.t()

    model, image, text, y = CLIP(), images(4), labels(4, 5, classes=9), torch.arange(4)

    def loss() -> Tensor:
        logits = model(image, text)
        return (F.cross_entropy(logits, y) + F.cross_entropy(logits.t(), y)) / 2

    return model, loss


@CASES
def simclr_and_supervised_contrast() -> Built:
    model, (a, b), y = mlp(5, 8, 4), views(), labels(6, classes=2)

    def loss() -> Tensor:
        z = F.normalize(torch.cat([model(a), model(b)]), dim=1)
        logits = (z @ z.T / 0.5).fill_diagonal_(-torch.inf)
        plain = F.cross_entropy(logits, torch.arange(12).roll(6))
        same = (y.repeat(2)[:, None] == y.repeat(2)) & ~torch.eye(12, dtype=torch.bool)
        log_p = (logits - logits.logsumexp(1, keepdim=True)).masked_fill(~same, 0)
        return plain - (log_p.sum(1) / same.sum(1).clamp(min=1)).mean()

    return model, loss


class Moving(nn.Module):
    """A network, and a copy of it that follows in place and takes no gradient."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.online, self.target = net, copy.deepcopy(net).requires_grad_(False)

    @torch.no_grad()
    def follow(self) -> None:
        for p, kept in zip(self.online.parameters(), self.target.parameters(), strict=True):
            kept.mul_(0.9).add_(p, alpha=0.1)


@CASES
def byol() -> Built:
    net = nn.Sequential(nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 4))
    model, (a, b) = nn.ModuleDict({"moving": Moving(net), "predict": mlp(4, 6, 4)}), views()

    def loss() -> Tensor:
        moving = model["moving"]
        moving.follow()
        with torch.no_grad():
            targets = moving.target(b), moving.target(a)
        total = 0.0
        for x, target in zip((a, b), targets, strict=True):
            total = total + 2 - 2 * F.cosine_similarity(model["predict"](moving.online(x)), target, dim=-1).mean()
        return total

    return model, loss


@CASES
def moco_with_a_queue() -> Built:
    class MoCo(nn.Module):
        """Keys of earlier batches are negatives; the queue, a buffer, is overwritten after it was used."""

        def __init__(self) -> None:
            super().__init__()
            self.moving = Moving(mlp(5, 6, 4))
            self.register_buffer("queue", F.normalize(torch.randn(4, 8), dim=0))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            q = F.normalize(self.moving.online(a), dim=1)
            with torch.no_grad():
                self.moving.follow()
                k = F.normalize(self.moving.target(b), dim=1)
            near, far = (
                torch.einsum("nc,nc->n", q, k).unsqueeze(-1),
                torch.einsum("nc,ck->nk", q, self.queue.clone().detach()),
            )
            with torch.no_grad():
                self.queue[:, : len(k)] = k.T
            return F.cross_entropy(torch.cat([near, far], 1) / 0.2, torch.zeros(len(q), dtype=torch.long))

    model, (a, b) = MoCo(), views()
    return model, lambda: model(a, b)


@CASES
def dino_with_a_centre() -> Built:
    class Dino(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.moving = Moving(
                nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)))
            )
            self.register_buffer("centre", torch.zeros(1, 4))

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            with torch.no_grad():
                taught = self.moving.target(a)
            target = ((taught - self.centre) / 0.04).softmax(-1).detach()
            loss = -(target * (self.moving.online(b) / 0.1).log_softmax(-1)).sum(-1).mean()
            self.centre = self.centre * 0.9 + taught.mean(0, keepdim=True) * 0.1
            return loss

    model, (a, b) = Dino(), views()
    return model, lambda: model(a, b)


@CASES
def barlow_twins_and_vicreg() -> Built:
    model, (a, b) = mlp(5, 8, 4), views()

    def off_diagonal(m: Tensor) -> Tensor:
        return m.flatten()[:-1].view(3, 5)[:, 1:].flatten()

    def loss() -> Tensor:
        u, v = model(a), model(b)
        norm = [(x - x.mean(0)) / x.std(0) for x in (u, v)]
        c = norm[0].T @ norm[1] / len(u)
        barlow = torch.diagonal(c).add(-1).pow(2).sum() + 0.01 * off_diagonal(c).pow_(2).sum()
        spread = sum(
            F.relu(1 - (x.var(0) + 1e-4).sqrt()).mean() + off_diagonal(torch.cov(x.T)).pow(2).sum() for x in (u, v)
        )
        return barlow + F.mse_loss(u, v) + spread + 1 - torch.corrcoef(torch.stack([u.flatten(), v.flatten()]))[0, 1]

    return model, loss


@CASES
def swav_by_sinkhorn() -> Built:
    model, (a, b) = nn.ModuleDict({"net": mlp(5, 6, 4), "prototypes": nn.Linear(4, 3, bias=False)}), views()

    def loss() -> Tensor:
        scores = [model["prototypes"](F.normalize(model["net"](x), dim=1)) for x in (a, b)]
        with torch.no_grad():
            codes = []
            for s in scores:
                q = torch.exp(s / 0.05).T
                q /= q.sum()
                for _ in range(3):
                    q /= q.sum(1, keepdim=True) * 3
                    q /= q.sum(0, keepdim=True) * q.shape[1]
                codes.append((q * q.shape[1]).T)
        return -sum((q * (s / 0.1).log_softmax(1)).sum(1).mean() for q, s in zip(codes, scores[::-1], strict=True))

    return model, loss


@CASES
def faces_by_angular_margins() -> Built:
    """ArcFace and circle loss: margins added to angles, and a gallery of normalized class vectors."""
    model, x, y = (
        nn.ModuleDict({"net": mlp(5, 6, 4), "classes": nn.Linear(4, 3, bias=False)}),
        torch.randn(6, 5),
        labels(6, classes=3),
    )

    def loss() -> Tensor:
        cosine = F.linear(F.normalize(model["net"](x)), F.normalize(model["classes"].weight))
        sine = torch.sqrt((1 - cosine.pow(2)).clamp(1e-6, 1))
        moved = torch.where(
            cosine > math.cos(math.pi - 0.5), cosine * math.cos(0.5) - sine * math.sin(0.5), cosine - 0.24
        )
        own = torch.zeros_like(cosine).scatter_(1, y.view(-1, 1), 1)
        logits = 8 * (own * moved + (1 - own) * cosine)
        angles = torch.arccos(cosine.clamp(-0.99, 0.99))
        return F.cross_entropy(logits, y) + 0.01 * (angles * own).sum()

    return model, loss


@CASES
def knowledge_distillation() -> Built:
    teacher, student = mlp(5, 8, 8, 3).requires_grad_(False), mlp(5, 4, 3)
    model, x, y = nn.ModuleDict({"teacher": teacher, "student": student}), torch.randn(6, 5), labels(6, classes=3)

    def loss() -> Tensor:
        made, taught = model["student"](x), model["teacher"](x)
        soft = F.kl_div((made / 2).log_softmax(1), (taught / 2).log_softmax(1), reduction="batchmean", log_target=True)
        return 4 * soft + F.cross_entropy(made, y)

    return model, loss


@CASES
def prototypical_network() -> Built:
    model, support, query, y = mlp(5, 8, 4), torch.randn(3, 4, 5), torch.randn(6, 5), labels(6, classes=3)

    def loss() -> Tensor:
        centres = model(support).mean(1)
        return F.cross_entropy(-torch.cdist(model(query), centres).pow(2), y)

    return model, loss


@CASES
def multiple_instances_by_gated_attention() -> Built:
    class Bags(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.v, self.u, self.w, self.out = nn.Linear(4, 5), nn.Linear(4, 5), nn.Linear(5, 1), nn.Linear(4, 1)

        def forward(self, bags: list[Tensor]) -> Tensor:
            x = torch.vstack(bags)
            scores = self.w(self.v(x).tanh() * self.u(x).sigmoid()).squeeze(-1)
            weights = torch.cat([s.softmax(0) for s in scores.split([len(b) for b in bags])])
            parts = (weights[:, None] * x).split_with_sizes([len(b) for b in bags])
            return self.out(torch.stack([p.sum(0) for p in parts])).squeeze(1)

    return clicked(Bags(), [torch.randn(n, 4) for n in (3, 1, 4)])


# --- classical models, with gradients -----------------------------------------------------------------------


@CASES
def gaussian_process_with_cholesky() -> Built:
    class GP(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.length, self.noise, self.size = (nn.Parameter(torch.tensor(v)) for v in (0.0, -1.0, 0.5))
            self.warp = mlp(2, 4, 2, act=nn.Tanh)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            z = self.warp(x)
            square = (z[:, None] - z[None]).square().sum(-1)
            k = self.size.exp() * torch.exp(-square / 2 / self.length.exp()) + self.noise.exp() * torch.eye(len(x))
            low = torch.linalg.cholesky(k)
            alpha = torch.cholesky_solve(y[:, None], low)
            white = torch.linalg.solve_triangular(low, y[:, None], upper=False)
            return 0.5 * y @ alpha[:, 0] + low.diagonal().log().sum() + 0.01 * white.abs().sum()

    model, x, y = GP(), torch.rand(6, 2), torch.randn(6)
    return model, lambda: model(x, y)


@CASES
def sparse_variational_gaussian_process() -> Built:
    class SVGP(nn.Module):
        """Inducing points, a full covariance of their values, its divergence from the prior."""

        def __init__(self, m: int = 3) -> None:
            super().__init__()
            self.z, self.mean, self.raw = (
                nn.Parameter(torch.rand(m, 1)),
                nn.Parameter(torch.randn(m)),
                nn.Parameter(torch.eye(m)),
            )
            self.length = nn.Parameter(torch.tensor(-1.0))

        def kernel(self, a: Tensor, b: Tensor) -> Tensor:
            far = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist") * math.sqrt(3) / self.length.exp()
            return (1 + far) * torch.exp(-far)

        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            m = len(self.z)
            q = torch.distributions.MultivariateNormal(self.mean, scale_tril=self.raw.tril())
            kzz = self.kernel(self.z, self.z) + 1e-2 * torch.eye(m)
            p = torch.distributions.MultivariateNormal(torch.zeros(m), kzz)
            a = torch.linalg.solve(kzz, self.kernel(self.z, x))
            mean = a.T @ self.mean
            var = 1 - (a * (kzz @ a)).sum(0) + (self.raw.tril().T @ a).square().sum(0)
            return ((y - mean) ** 2 + var).mean() + torch.distributions.kl_divergence(q, p)

    model, x = SVGP(), torch.rand(6, 1)
    return model, lambda: model(x, (5 * x[:, 0]).sin())


@CASES
def differentiable_pca() -> Built:
    model, x = mlp(4, 6, 3, act=nn.Tanh), torch.randn(7, 4)

    def loss() -> Tensor:
        z = model(x)
        z = z - z.mean(0)
        values, vectors = torch.linalg.eigh(z.T @ z / len(z))
        kept = z @ vectors[:, 1:]
        u, s, vh = torch.linalg.svd(z, full_matrices=False)
        lost = (z - (u[:, :1] * s[:1]) @ vh[:1]).square().sum()
        return kept.square().sum() - values.log().sum() + torch.linalg.matrix_norm(z, "nuc") + lost

    return model, loss


@CASES
def canonical_correlations_of_two_networks() -> Built:
    """Deep CCA: inverse square roots of covariances, the singular values of their product."""
    model, (a, b) = nn.ModuleList([mlp(4, 6, 2), mlp(4, 6, 2)]), views(8, 4)

    def inverse_root(c: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(c + 1e-2 * torch.eye(2))
        return vectors @ torch.diag(values.rsqrt()) @ vectors.mT

    def loss() -> Tensor:
        u, v = (net(x) for net, x in zip(model, (a, b), strict=True))
        u, v = u - u.mean(0), v - v.mean(0)
        t = inverse_root(u.T @ u / 7) @ (u.T @ v / 7) @ inverse_root(v.T @ v / 7)
        return -torch.linalg.svdvals(t).sum()

    return model, loss


@CASES
def ridge_regression_as_the_last_layer() -> Built:
    """R2-D2: a base learner in closed form inside the network, by solve and by a pseudo-inverse."""
    model, x, y, query = mlp(3, 6, 4), torch.randn(7, 3), torch.randn(7, 2), torch.randn(5, 3)
    model.register_parameter("ridge", nn.Parameter(torch.tensor(-1.0)))

    def loss() -> Tensor:
        z = model(x)
        w = torch.linalg.solve(z.T @ z + model.ridge.exp() * torch.eye(4), z.T @ y)
        free = torch.linalg.pinv(torch.cat([z, torch.eye(4)])) @ torch.cat([y, torch.zeros(4, 2)])
        return (model(query) @ w).square().mean() + torch.linalg.norm(w - free) + torch.logdet(z.T @ z + torch.eye(4))

    return model, loss


@CASES
def determinantal_point_process() -> Built:
    model, x = mlp(3, 6, 4), torch.randn(5, 3)
    model.register_parameter("quality", nn.Parameter(torch.randn(5)))

    def loss() -> Tensor:
        f = F.normalize(model(x), dim=1)
        kernel = torch.outer(model.quality.exp(), model.quality.exp()) * (f @ f.T) + 0.1 * torch.eye(5)
        chosen = torch.tensor([0, 2, 3])
        part = torch.det(kernel[chosen][:, chosen])
        return torch.slogdet(kernel + torch.eye(5)).logabsdet - part.log()

    return model, loss


@CASES
def soft_sorting_and_ranking() -> Built:
    """NeuralSort, SoftSort, a relaxed top-k and Sinkhorn permutations."""
    model, x, y = mlp(3, 6, 1), torch.randn(6, 3), torch.randn(6)

    def loss() -> Tensor:
        s = model(x)
        n = len(s)
        apart = (s - s.T).abs().sum(1)
        scaling = n + 1 - 2 * torch.arange(1.0, n + 1)
        neural = (scaling[:, None] * s.squeeze(1) - apart).softmax(-1)
        soft = (-(s.squeeze(1).sort(descending=True).values[:, None] - s.squeeze(1)).abs()).softmax(-1)
        log_p = -(s - y[None]).square()
        for _ in range(4):
            log_p = log_p - log_p.logsumexp(1, keepdim=True)
            log_p = log_p - log_p.logsumexp(0, keepdim=True)
        best = s.squeeze(1).topk(3).values.mean() - s.squeeze(1).kthvalue(2).values + s.median() + s.quantile(0.3)
        return F.mse_loss(neural @ y, y) + ((soft - neural) ** 2).sum() + (log_p.exp() * log_p).sum() + best

    return model, loss


@CASES
def neural_decision_forest() -> Built:
    class Forest(nn.Module):
        """Soft decisions at the inner nodes; a leaf's probability is a product along its path."""

        def __init__(self) -> None:
            super().__init__()
            self.decide, self.leaves = nn.Linear(4, 2 * 7), nn.Parameter(torch.randn(2, 8, 3))

        def forward(self, x: Tensor) -> Tensor:
            right = self.decide(x).sigmoid().view(-1, 2, 7, 1)
            both = torch.cat([1 - right, right], -1)
            reach = x.new_ones(len(x), 2, 1, 1)
            for level in range(3):
                reach = reach.reshape(len(x), 2, -1, 1) * both[:, :, 2**level - 1 : 2 ** (level + 1) - 1]
            return (reach.reshape(len(x), 2, 8, 1) * self.leaves.softmax(-1)).sum(2).mean(1)

    model, x, y = Forest(), torch.randn(6, 4), labels(6, classes=3)
    return model, lambda: F.nll_loss(model(x).log(), y)


@CASES
def tabnet() -> Built:
    class TabNet(nn.Module):
        """Steps choose features by sparsemax masks, with ghost batch normalization and gated units."""

        def __init__(self, d: int = 5) -> None:
            super().__init__()
            self.norm, self.choose = nn.BatchNorm1d(d), nn.ModuleList(nn.Linear(4, d) for _ in range(2))
            self.work = nn.ModuleList(nn.Sequential(nn.Linear(d, 16), nn.BatchNorm1d(16), nn.GLU()) for _ in range(3))
            self.out = nn.Linear(4, 1)

        @staticmethod
        def sparsemax(z: Tensor) -> Tensor:
            ordered = z.sort(-1, descending=True).values
            k = torch.arange(1.0, z.shape[-1] + 1)
            sums = ordered.cumsum(-1) - 1
            count = (ordered * k > sums).sum(-1, keepdim=True)
            return (z - sums.gather(-1, count - 1) / count).clamp(min=0)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = self.norm(x)
            prior, total, entropy = torch.ones_like(x), 0.0, 0.0
            h = self.work[0](x)
            for choose, work in zip(self.choose, list(self.work)[1:], strict=True):
                mask = self.sparsemax(prior * choose(h[:, 4:]))
                prior = prior * (1.3 - mask)
                entropy = entropy - (mask * (mask + 1e-15).log()).sum(1).mean()
                h = torch.cat([work(part) for part in (mask * x).chunk(2)])
                total = total + h[:, :4].relu()
            return self.out(total), entropy

    model, x, y = TabNet(), torch.randn(8, 5), torch.randn(8, 1)

    def loss() -> Tensor:
        out, entropy = model(x)
        return F.mse_loss(out, y) + 1e-3 * entropy

    return model, loss


@CASES
def kolmogorov_arnold_network() -> Built:
    class KAN(nn.Module):
        """A spline on every edge, by the recurrence of de Boor and Cox."""

        def __init__(self, i: int, o: int, grid: int = 3, k: int = 2) -> None:
            super().__init__()
            self.base, self.k = nn.Linear(i, o, bias=False), k
            self.spline = nn.Parameter(torch.randn(o, i, grid + k) * 0.1)
            self.register_buffer("grid", (torch.arange(-k, grid + k + 1) * 2 / grid - 1).expand(i, -1).contiguous())

        def forward(self, x: Tensor) -> Tensor:
            g, t = self.grid, x.tanh().unsqueeze(-1)
            b = ((t >= g[:, :-1]) & (t < g[:, 1:])).to(x.dtype)
            for k in range(1, self.k + 1):
                left = (t - g[:, : -(k + 1)]) / (g[:, k:-1] - g[:, : -(k + 1)]) * b[..., :-1]
                b = left + (g[:, k + 1 :] - t) / (g[:, k + 1 :] - g[:, 1:-k]) * b[..., 1:]
            return self.base(F.silu(x)) + torch.einsum("big,oig->bo", b, self.spline)

    model, x = nn.Sequential(KAN(2, 4), KAN(4, 1)), torch.randn(6, 2)
    return model, lambda: F.mse_loss(model(x), x.prod(1, keepdim=True))


@CASES
def neural_tensor_network() -> Built:
    class NTN(nn.Module):
        """Relations score pairs of entities by a bilinear form and a linear one (Socher et al. 2013)."""

        def __init__(self) -> None:
            super().__init__()
            self.entities, self.form = nn.Embedding(6, 4, max_norm=5.0), nn.Bilinear(4, 4, 3)
            self.linear, self.u = nn.Linear(8, 3, bias=False), nn.Linear(3, 1, bias=False)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            a, b = self.entities(a), self.entities(b)
            return self.u(torch.tanh(self.form(a, b) + self.linear(torch.cat([a, b], 1)))).squeeze(1)

    model, a, b, other = NTN(), labels(5, classes=6), labels(5, classes=6), labels(5, classes=6)
    return model, lambda: F.margin_ranking_loss(model(a, b), model(a, other), torch.ones(5), margin=1.0)


@CASES
def knowledge_graph_embeddings() -> Built:
    class Graph(nn.Module):
        """RotatE and ComplEx with complex embeddings, TransE with an L1 norm, in the Poincaré ball too."""

        def __init__(self) -> None:
            super().__init__()
            self.nodes = nn.Parameter(torch.randn(5, 3, dtype=torch.complex128) * 0.3)
            self.turns, self.relation = (
                nn.Parameter(torch.randn(2, 3)),
                nn.Parameter(torch.randn(2, 3, dtype=torch.complex128)),
            )

        def forward(self, s: Tensor, r: Tensor, t: Tensor) -> Tensor:
            a, b = self.nodes[s], self.nodes[t]
            turned = (a * torch.exp(1j * self.turns[r]) - b).abs().sum(-1)
            complex_ = (a * self.relation[r] * b.conj()).sum(-1).real
            moved = torch.linalg.vector_norm(a.real + self.turns[r] - b.real, ord=1, dim=-1)
            u, v = a.imag, b.imag
            inside = (1 - u.square().sum(-1)).clamp(min=0.1) * (1 - v.square().sum(-1)).clamp(min=0.1)
            poincare = torch.acosh(1.001 + 2 * (u - v).square().sum(-1) / inside)
            return turned + moved - complex_ + poincare + a.angle().cos().sum(-1)

    model, s, r, t, other = Graph(), labels(6), labels(6, classes=2), labels(6), labels(6)
    return model, lambda: F.relu(1 + model(s, r, t) - model(s, r, other)).mean() + model(s, r, t).mean()


@CASES
def survival_by_partial_likelihood() -> Built:
    """Cox's likelihood with risk sets by logcumsumexp, and a Weibull likelihood with gamma functions."""
    model, x, time, seen = mlp(4, 6, 3), torch.randn(7, 4), torch.rand(7) + 0.1, torch.rand(7) > 0.3

    def loss() -> Tensor:
        risk, shape, scale = model(x).unbind(1)
        order = time.argsort(descending=True)
        risk = risk[order]
        cox = -(risk - risk.logcumsumexp(0))[seen[order]].sum()
        k, lam = F.softplus(shape) + 0.5, F.softplus(scale) + 0.5
        log_hazard = k.log() - lam.log() + torch.xlogy(k - 1, time / lam)
        weibull = -(seen * log_hazard - (time / lam) ** k).mean()
        return cox + weibull + (lam * torch.exp(torch.lgamma(1 + 1 / k))).mean()

    return model, loss


@CASES
def counts_and_proportions() -> Built:
    """Likelihoods full of special functions: negative binomial, beta, von Mises, Dirichlet, multinomial."""
    model, x = mlp(3, 6, 8), torch.randn(5, 3)
    counts, shares, angles = torch.randint(0, 6, (5,)).double(), torch.rand(5) * 0.8 + 0.1, torch.rand(5) * 6 - 3

    def loss() -> Tensor:
        out = model(x)
        positive = F.softplus(out) + 0.1
        d = torch.distributions
        total = d.NegativeBinomial(positive[:, 0], logits=out[:, 1]).log_prob(counts).sum()
        total = total + d.Beta(positive[:, 2], positive[:, 3]).log_prob(shares).sum()
        total = total + d.VonMises(out[:, 4], positive[:, 5]).log_prob(angles).sum()
        total = total + d.Dirichlet(positive[:, 5:]).log_prob(torch.full((5, 3), 1 / 3)).sum()
        total = total + d.Gamma(positive[:, 0], positive[:, 1]).entropy().sum()
        return (
            F.poisson_nll_loss(out[:, 6], counts, full=True)
            - total
            + F.gaussian_nll_loss(out[:, 7], shares, positive[:, 7])
        )

    return model, loss


# --- policies -----------------------------------------------------------------------------------------------


@CASES
def proximal_policy_optimization() -> Built:
    model, x = (
        nn.ModuleDict({"actor": mlp(4, 8, 3, act=nn.Tanh), "critic": mlp(4, 8, 1, act=nn.Tanh)}),
        torch.randn(8, 4),
    )
    action, old, gain, value = labels(8, classes=3), torch.randn(8) - 1, torch.randn(8), torch.randn(8)

    def loss() -> Tensor:
        policy = Categorical(logits=model["actor"](x))
        ratio = (policy.log_prob(action) - old).exp()
        normed = (gain - gain.mean()) / (gain.std() + 1e-8)
        surrogate = torch.min(ratio * normed, ratio.clamp(0.8, 1.2) * normed).mean()
        v = model["critic"](x).squeeze(-1)
        clipped = value + torch.clamp(v - value, -0.2, 0.2)
        critic = 0.5 * torch.max((v - gain) ** 2, (clipped - gain) ** 2).mean()
        return critic - surrogate - 0.01 * policy.entropy().mean()

    return model, loss


@CASES
def soft_actor_critic() -> Built:
    """A squashed normal with reparametrised actions, two critics of which the smaller counts, a learned temperature."""
    model = nn.ModuleDict({"actor": mlp(4, 8, 4), "critics": nn.ModuleList([mlp(6, 8, 1), mlp(6, 8, 1)])})
    model.register_parameter("log_alpha", nn.Parameter(torch.tensor(0.1)))
    x = torch.randn(6, 4)

    def loss() -> Tensor:
        mean, log_std = model["actor"](x).chunk(2, -1)
        base = Independent(Normal(mean, log_std.clamp(-5, 2).exp()), 1)
        policy = TransformedDistribution(base, [TanhTransform(cache_size=1)])
        action = policy.rsample()
        log_p = policy.log_prob(action)
        q = torch.minimum(*(critic(torch.cat([x, action], 1)).squeeze(1) for critic in model["critics"]))
        alpha = model.log_alpha.exp()
        return (alpha.detach() * log_p - q).mean() - (alpha * (log_p + 2).detach()).mean()

    return model, loss


class Dueling(nn.Module):
    """Value and advantage; layers with factorised noise; a distribution over quantiles."""

    class Noisy(nn.Module):
        def __init__(self, i: int, o: int) -> None:
            super().__init__()
            self.mean, self.scale = nn.Parameter(torch.randn(o, i) * 0.3), nn.Parameter(torch.full((o, i), 0.1))

        def forward(self, x: Tensor) -> Tensor:
            a, b = (torch.randn(n) for n in self.mean.shape)
            a, b = a.sign() * a.abs().sqrt(), b.sign() * b.abs().sqrt()
            return F.linear(x, self.mean + self.scale * a.outer(b))

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp(4, 8)
        self.value, self.advantage = self.Noisy(8, 5), self.Noisy(8, 15)

    def forward(self, x: Tensor) -> Tensor:
        h = self.body(x).relu()
        a = self.advantage(h).view(-1, 3, 5)
        return self.value(h).unsqueeze(1) + a - a.mean(1, keepdim=True)


@CASES
def dueling_network_with_quantiles() -> Built:
    model, x, action, reward = Dueling(), torch.randn(2, 6, 4), labels(6, classes=3), torch.randn(6)

    def loss() -> Tensor:
        made = model(x[0]).gather(1, action.view(-1, 1, 1).expand(-1, -1, 5)).squeeze(1)
        with torch.no_grad():
            following = model(x[1])
            best = following.mean(-1).argmax(1)
            target = reward[:, None] + 0.9 * following[torch.arange(6), best]
        off = target[:, None] - made[..., None]
        tau = (torch.arange(5) + 0.5) / 5
        huber = F.huber_loss(made[..., None].expand_as(off), target[:, None].expand_as(off), reduction="none")
        return ((tau[:, None] - (off.detach() < 0).double()).abs() * huber).sum(1).mean()

    return model, loss


@CASES
def reinforce_with_generalized_advantages() -> Built:
    model, x, reward = (
        nn.ModuleDict({"policy": nn.GRU(4, 5), "act": nn.Linear(5, 2), "value": nn.Linear(5, 1)}),
        torch.randn(6, 2, 4),
        torch.randn(6, 2),
    )

    def loss() -> Tensor:
        h, _ = model["policy"](x)
        policy, v = Normal(model["act"](h), 0.5), model["value"](h).squeeze(-1)
        action = policy.sample()
        running, gains = torch.zeros(2), []
        for t in reversed(range(5)):
            running = reward[t] + 0.9 * v[t + 1].detach() - v[t].detach() + 0.8 * running
            gains.insert(0, running)
        gains = torch.stack(gains)
        log_p = policy.log_prob(action).sum(-1)[:-1]
        return -(log_p * gains).mean() + F.smooth_l1_loss(v[:-1], gains + v[:-1].detach())

    return model, loss


@CASES
def world_model_with_discrete_latents() -> Built:
    class Dreamer(nn.Module):
        """A recurrent state space with straight-through categoricals and balanced divergences; symlog targets."""

        def __init__(self) -> None:
            super().__init__()
            self.gru, self.prior, self.post = nn.GRUCell(8, 5), nn.Linear(5, 8), nn.Linear(5 + 3, 8)
            self.decode, self.reward = mlp(13, 8, 3, act=nn.SiLU), nn.Linear(13, 7)

        def forward(self, x: Tensor, reward: Tensor) -> Tensor:
            h, z, total = torch.zeros(x.shape[1], 5), torch.zeros(x.shape[1], 8), 0.0
            bins = torch.linspace(-3, 3, 7)
            for step, r in zip(x, reward, strict=True):
                h = self.gru(z, h)
                prior, post = (
                    p.view(-1, 2, 4).softmax(-1) * 0.99 + 0.0025
                    for p in (self.prior(h), self.post(torch.cat([h, step], 1)))
                )
                sample = F.one_hot(Categorical(post).sample(), 4)
                z = (sample + post - post.detach()).flatten(1)
                kl = [
                    (a * (a.log() - b.log())).sum((1, 2)).clamp(min=0.1)
                    for a, b in ((post.detach(), prior), (post, prior.detach()))
                ]
                state = torch.cat([h, z], 1)
                wanted = r.sign() * r.abs().log1p()
                k = (torch.bucketize(wanted, bins) - 1).clamp(0, 5)
                share = (wanted - bins[k]) / (bins[k + 1] - bins[k])
                twohot = (
                    torch.zeros(len(r), 7)
                    .scatter(1, k[:, None], 1 - share[:, None])
                    .scatter(1, k[:, None] + 1, share[:, None])
                )
                total = total + F.mse_loss(self.decode(state), step) + (kl[0] + 0.1 * kl[1]).mean()
                total = total - (twohot * self.reward(state).log_softmax(-1)).sum(-1).mean()
            return total

    model, x, reward = Dreamer(), torch.randn(3, 2, 3), torch.randn(3, 2)
    return model, lambda: model(x, reward)


@CASES
def decision_transformer() -> Built:
    class Decisions(nn.Module):
        """Returns, states and actions interleaved as one sequence."""

        def __init__(self, c: int = 6) -> None:
            super().__init__()
            self.r, self.s, self.a, self.time = nn.Linear(1, c), nn.Linear(3, c), nn.Embedding(2, c), nn.Embedding(5, c)
            self.block, self.out = (
                nn.TransformerEncoderLayer(c, 2, 8, 0.1, batch_first=True, norm_first=True),
                nn.Linear(c, 2),
            )

        def forward(self, r: Tensor, s: Tensor, a: Tensor) -> Tensor:
            time = self.time(torch.arange(s.shape[1]))
            x = torch.stack([self.r(r) + time, self.s(s) + time, self.a(a) + time], 2).flatten(1, 2)
            mask = torch.ones(x.shape[1], x.shape[1]).triu(1).bool()
            return self.out(self.block(x, src_mask=mask)[:, 1::3])

    model, r, s, a = Decisions(), torch.randn(2, 4, 1), torch.randn(2, 4, 3), labels(2, 4, classes=2)
    return model, lambda: F.cross_entropy(model(r, s, a).flatten(0, 1), a.flatten())


@CASES
def alpha_zero_with_squeezed_planes() -> Built:
    body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(True))
    tower = Residual(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(True), nn.Conv2d(4, 4, 3, padding=1))
    policy, value = (
        nn.Sequential(nn.Flatten(), nn.Linear(100, 26)),
        nn.Sequential(nn.Flatten(), nn.Linear(100, 1), nn.Tanh()),
    )
    model = nn.ModuleDict({"body": body, "tower": tower, "policy": policy, "value": value})
    x, visits, won, legal = images(3, size=5), torch.rand(3, 26), torch.tensor([1.0, -1, 0]), torch.rand(3, 26) > 0.2

    def loss() -> Tensor:
        h = F.relu(model["tower"](model["body"](x)))
        logits = torch.where(legal, model["policy"](h), torch.finfo(torch.float64).min)
        target = visits * legal / (visits * legal).sum(1, keepdim=True)
        return -torch.special.xlogy(target, logits.softmax(1).clamp(min=1e-12)).sum(1).mean() + F.mse_loss(
            model["value"](h).squeeze(1), won
        )

    return model, loss
