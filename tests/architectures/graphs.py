"""Networks over graphs, sets, points and molecules."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import grad

from architectures.common import Built, Cases, labels

CASES = Cases()
N = 6
EDGES = torch.tensor([[0, 1, 2, 3, 4, 5, 0, 2, 1, 5], [1, 2, 3, 4, 5, 0, 3, 5, 4, 2]])


def both_ways() -> Tensor:
    return torch.cat([EDGES, EDGES.flip(0)], 1)


def nodes_classified(model: nn.Module, *arguments: Tensor, features: int = 4) -> Built:
    x, y, seen = torch.randn(N, features), labels(N, classes=3), torch.tensor([1, 0, 1, 1, 1, 0]).bool()
    return model, lambda: F.cross_entropy(model(x, *arguments)[seen], y[seen])


class GCN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 6, bias=False), nn.Linear(6, 3)

    def forward(self, x: Tensor, adjacency: Tensor) -> Tensor:
        x = F.dropout(F.relu(torch.sparse.mm(adjacency, self.a(F.dropout(x, 0.2)))), 0.2)
        return torch.sparse.mm(adjacency, self.b(x))


def normalized_adjacency() -> Tensor:
    loops = torch.arange(N).expand(2, N)
    edges = torch.cat([both_ways(), loops], 1)
    degree = torch.bincount(edges[0], minlength=N).double()
    values = degree[edges[0]].rsqrt() * degree[edges[1]].rsqrt()
    return torch.sparse_coo_tensor(edges, values, (N, N), check_invariants=True).coalesce()


@CASES
def gcn_with_sparse_adjacency() -> Built:
    return nodes_classified(GCN(), normalized_adjacency())


@CASES
def gcn_with_dense_laplacian() -> Built:
    class Chebyshev(nn.Module):
        """ChebNet: polynomials of the scaled Laplacian, by their recurrence."""

        def __init__(self) -> None:
            super().__init__()
            self.weights = nn.Parameter(torch.randn(3, 4, 3) * 0.5)

        def forward(self, x: Tensor, laplacian: Tensor) -> Tensor:
            terms = [x, laplacian @ x]
            terms.append(2 * laplacian @ terms[-1] - terms[-2])
            return torch.einsum("knc,kcd->nd", torch.stack(terms), self.weights)

    return nodes_classified(Chebyshev(), -normalized_adjacency().to_dense())


class GAT(nn.Module):
    """Attention over edges: a softmax over the edges that meet at a node, by scatter operations."""

    def __init__(self, i: int, o: int, heads: int) -> None:
        super().__init__()
        self.heads, self.lin = heads, nn.Linear(i, heads * o, bias=False)
        self.source, self.target = nn.Parameter(torch.randn(heads, o)), nn.Parameter(torch.randn(heads, o))
        self.bias = nn.Parameter(torch.zeros(heads * o))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        s, t = edges
        h = self.lin(x).view(len(x), self.heads, -1)
        score = F.leaky_relu((h * self.source).sum(-1)[s] + (h * self.target).sum(-1)[t], 0.2)
        top = torch.full((len(x), self.heads), -math.inf).scatter_reduce(0, t[:, None].expand_as(score), score, "amax")
        weight = (score - top[t].detach()).exp()
        total = torch.zeros(len(x), self.heads).index_add(0, t, weight)
        weight = F.dropout(weight / (total[t] + 1e-16), 0.2)
        out = torch.zeros_like(h).scatter_add_(
            0, t[:, None, None].expand(-1, *h.shape[1:]), h[s] * weight.unsqueeze(-1)
        )
        return out.flatten(1) + self.bias


@CASES
def graph_attention_network() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = GAT(4, 3, 2), GAT(6, 3, 1)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            return self.b(F.elu(self.a(F.dropout(x, 0.2), edges)), edges)

    return nodes_classified(Net(), both_ways())


class SAGE(nn.Module):
    def __init__(self, i: int, o: int, pool: str) -> None:
        super().__init__()
        self.own, self.other, self.before, self.pool = nn.Linear(i, o), nn.Linear(i, o, False), nn.Linear(i, i), pool

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        s, t = edges
        sent = F.relu(self.before(x))[s]
        if self.pool == "mean":
            gathered = torch.zeros_like(x).index_add_(0, t, sent)
            gathered = gathered / torch.bincount(t, minlength=len(x)).clamp(min=1)[:, None]
        else:
            gathered = torch.zeros_like(x).index_reduce(0, t, sent, self.pool)
        return F.normalize(self.own(x) + self.other(gathered), p=2, dim=-1)


@CASES
def graphsage_with_mean_and_maximum() -> Built:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = SAGE(4, 5, "mean"), SAGE(5, 3, "amax")

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            return self.b(F.relu(self.a(x, edges)), edges)

    return nodes_classified(Net(), both_ways())


@CASES
def graph_isomorphism_network() -> Built:
    """Graphs of unequal sizes in one batch, pooled by segment; a loss over graphs."""

    class GIN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.eps = nn.ParameterList([torch.zeros(()), torch.zeros(())])
            self.nets = nn.ModuleList(
                nn.Sequential(nn.Linear(i, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 5)) for i in (4, 5)
            )
            self.heads = nn.ModuleList(nn.Linear(i, 3) for i in (4, 5, 5))

        def forward(self, x: Tensor, edges: Tensor, graph: Tensor) -> Tensor:
            out = self.heads[0](torch.zeros(2, x.shape[1]).index_add(0, graph, x))
            for eps, net, last in zip(self.eps, self.nets, list(self.heads)[1:], strict=True):
                x = net((1 + eps) * x + torch.zeros_like(x).index_add(0, edges[1], x[edges[0]]))
                out = out + F.dropout(last(torch.zeros(2, 5).index_add(0, graph, x)), 0.3)
            return out

    model, x, y = GIN(), torch.randn(N, 4), labels(2, classes=3)
    graph = torch.tensor([0, 0, 0, 0, 1, 1])
    return model, lambda: F.cross_entropy(model(x, both_ways(), graph), y)


@CASES
def relational_gcn_with_distmult() -> Built:
    class Relational(nn.Module):
        """Bases shared by the relations' matrices; triples are scored by a diagonal bilinear form."""

        def __init__(self) -> None:
            super().__init__()
            self.nodes, self.bases = nn.Embedding(N, 4), nn.Parameter(torch.randn(2, 4, 4) * 0.5)
            self.share, self.own = nn.Parameter(torch.randn(3, 2)), nn.Linear(4, 4)
            self.relation = nn.Parameter(torch.randn(3, 4))

        def forward(self, triples: Tensor) -> Tensor:
            s, r, t = triples
            weights = torch.tensordot(self.share, self.bases, dims=1)
            x = self.nodes.weight
            sent = torch.bmm(x[s].unsqueeze(1), weights[r]).squeeze(1)
            count = torch.zeros(N, 3).index_put((t, r), torch.ones(len(t)), accumulate=True)
            x = torch.relu(self.own(x).index_add(0, t, sent / count[t, r].unsqueeze(1)))
            return (x[s] * self.relation[r] * x[t]).sum(-1)

    model, y = Relational(), (torch.rand(10) > 0.5).double()
    triples = torch.stack([EDGES[0], labels(10, classes=3), EDGES[1]])
    return model, lambda: F.binary_cross_entropy_with_logits(model(triples), y)


@CASES
def message_passing_with_edge_networks() -> Built:
    class MPNN(nn.Module):
        """Gilmer et al. 2017: a matrix for every edge, GRU updates, set2set readout."""

        def __init__(self, c: int = 4) -> None:
            super().__init__()
            self.edge, self.gru = nn.Sequential(nn.Linear(2, 6), nn.ReLU(), nn.Linear(6, c * c)), nn.GRUCell(c, c)
            self.query, self.out = nn.LSTMCell(2 * c, c), nn.Linear(2 * c, 1)

        def forward(self, x: Tensor, edges: Tensor, kinds: Tensor) -> Tensor:
            (s, t), c = edges, x.shape[1]
            matrices = self.edge(kinds).view(-1, c, c)
            for _ in range(2):
                sent = (matrices @ x[s].unsqueeze(-1)).squeeze(-1)
                x = self.gru(torch.zeros_like(x).index_add(0, t, sent), x)
            read, state = torch.zeros(1, 2 * c), None
            for _ in range(2):
                state = self.query(read, state)
                weights = (x @ state[0].T).softmax(0)
                read = torch.cat([state[0], (weights * x).sum(0, keepdim=True)], 1)
            return self.out(read)

    model, x, kinds = MPNN(), torch.randn(N, 4), torch.randn(20, 2)
    return model, lambda: model(x, both_ways(), kinds).square().sum()


@CASES
def graphormer() -> Built:
    class Graphormer(nn.Module):
        """Attention biased by the lengths of shortest paths, with embeddings of the degrees."""

        def __init__(self, c: int = 4) -> None:
            super().__init__()
            self.degree, self.path = nn.Embedding(N, c), nn.Embedding(N, 2)
            self.attention, self.norm, self.out = (
                nn.MultiheadAttention(c, 2, 0.1, batch_first=True),
                nn.LayerNorm(c),
                nn.Linear(c, 3),
            )

        def forward(self, x: Tensor, degree: Tensor, far: Tensor) -> Tensor:
            h = (x + self.degree(degree)).unsqueeze(0)
            n = self.norm(h)
            mask = self.path(far).permute(2, 0, 1)
            return self.out(h + self.attention(n, n, n, attn_mask=mask)[0]).squeeze(0)

    edges, far = both_ways(), torch.full((N, N), N - 1)
    adjacency = torch.zeros(N, N).index_put((edges[0], edges[1]), torch.tensor(1.0))
    for d in range(N - 1, -1, -1):
        far[torch.linalg.matrix_power(adjacency + torch.eye(N), d) > 0] = d
    return nodes_classified(Graphormer(), torch.bincount(edges[0], minlength=N), far)


@CASES
def graph_autoencoder_with_pooling() -> Built:
    class DiffPool(nn.Module):
        """Nodes are softly assigned to clusters; the loss asks for links within them and for crisp assignments."""

        def __init__(self) -> None:
            super().__init__()
            self.embed, self.assign, self.out = nn.Linear(4, 5), nn.Linear(4, 2), nn.Linear(5, 3)

        def forward(self, x: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
            z, s = F.relu(self.embed(a @ x)), (a @ self.assign(x)).softmax(-1)
            link = torch.linalg.matrix_norm(a - s @ s.mT) / a.numel()
            entropy = torch.special.entr(s).sum(-1).mean()
            pooled = torch.linalg.multi_dot([s.T, a, s]) @ (s.T @ z)
            logits = self.out(pooled.mean(0))
            return logits, link + entropy + F.binary_cross_entropy((z @ z.T).sigmoid(), (a > 0).double())

    model, x, a = DiffPool(), torch.randn(N, 4), normalized_adjacency().to_dense()

    def loss() -> Tensor:
        logits, extra = model(x, a)
        return F.cross_entropy(logits, torch.tensor(1)) + extra

    return model, loss


@CASES
def sparse_edge_weights() -> Built:
    """A sparse matrix whose values are parameters, times features; and one in compressed rows."""

    class Weighted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.values, self.lin = nn.Parameter(torch.randn(20)), nn.Linear(4, 3)

        def forward(self, x: Tensor, edges: Tensor) -> Tensor:
            adjacency = torch.sparse_coo_tensor(edges, self.values, (N, N), check_invariants=True)
            x = torch.sparse.mm(adjacency, self.lin(x))
            return x + (adjacency @ x).tanh()

    return nodes_classified(Weighted(), both_ways())


# --- sets and points ----------------------------------------------------------------------------------------


@CASES
def deep_sets() -> Built:
    class DeepSets(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.each = nn.Sequential(nn.Linear(3, 6), nn.ELU(), nn.Linear(6, 6))
            self.whole = nn.Sequential(nn.Linear(12, 6), nn.ELU(), nn.Linear(6, 1))

        def forward(self, x: Tensor, mask: Tensor) -> Tensor:
            h = self.each(x)
            most = h.masked_fill(~mask.unsqueeze(-1), -1e9).max(1)[0]
            return self.whole(torch.cat([(h * mask.unsqueeze(-1)).sum(1), most], 1)).squeeze(-1)

    model, x = DeepSets(), torch.randn(3, 5, 3)
    mask = torch.arange(5) < torch.tensor([[5], [3], [2]])
    return model, lambda: F.mse_loss(model(x, mask), x.sum((1, 2)))


@CASES
def set_transformer() -> Built:
    class Induced(nn.Module):
        """Attention through a few induced points, then pooling by attention of a seed."""

        def __init__(self, c: int = 6) -> None:
            super().__init__()
            self.into, self.points, self.seed = (
                nn.Linear(3, c),
                nn.Parameter(torch.randn(2, c)),
                nn.Parameter(torch.randn(1, c)),
            )
            self.blocks = nn.ModuleList(nn.MultiheadAttention(c, 2, 0.1, batch_first=True) for _ in range(3))
            self.norms, self.out = nn.ModuleList(nn.LayerNorm(c) for _ in range(3)), nn.Linear(c, 1)

        def attend(self, i: int, q: Tensor, k: Tensor) -> Tensor:
            return self.norms[i](q + self.blocks[i](q, k, k)[0])

        def forward(self, x: Tensor) -> Tensor:
            x = self.into(x)
            h = self.attend(0, self.points.expand(len(x), -1, -1), x)
            x = self.attend(1, x, h)
            return self.out(self.attend(2, self.seed.expand(len(x), -1, -1), x)).flatten()

    model, x = Induced(), torch.randn(2, 5, 3)
    return model, lambda: F.smooth_l1_loss(model(x), x.amax((1, 2)))


class PointNet(nn.Module):
    """A learned transformation of the points (T-net), a maximum over them, and a loss for its orthogonality."""

    def __init__(self) -> None:
        super().__init__()
        self.tnet = nn.Sequential(nn.Conv1d(3, 6, 1), nn.BatchNorm1d(6), nn.ReLU())
        self.turn, self.body, self.head = (
            nn.Linear(6, 9),
            nn.Sequential(nn.Conv1d(3, 8, 1), nn.BatchNorm1d(8)),
            nn.Linear(8, 3),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        turn = self.turn(torch.max(self.tnet(x.mT), 2)[0]).view(-1, 3, 3) + torch.eye(3)
        x = torch.bmm(x, turn)
        out = self.head(F.dropout(F.relu(self.body(x.mT)).amax(2), 0.3))
        return out, torch.norm(torch.eye(3) - turn @ turn.mT, dim=(1, 2)).mean()


@CASES
def pointnet() -> Built:
    model, x, y = PointNet(), torch.randn(3, 7, 3), labels(3, classes=3)

    def loss() -> Tensor:
        logits, extra = model(x)
        return F.cross_entropy(logits, y) + 0.1 * extra

    return model, loss


@CASES
def dynamic_graph_cnn() -> Built:
    class DGCNN(nn.Module):
        """Edges to the nearest neighbours in feature space, found anew in each layer."""

        def __init__(self) -> None:
            super().__init__()
            self.convs = nn.ModuleList(nn.Conv2d(2 * i, o, 1) for i, o in ((3, 4), (4, 5)))
            self.head = nn.Linear(9, 3)

        def forward(self, x: Tensor) -> Tensor:
            x, found = x.mT, []
            for conv in self.convs:
                near = torch.cdist(x.mT, x.mT).topk(3, largest=False)[1]
                there = x.unsqueeze(2).expand(-1, -1, near.shape[1], -1)
                there = there.gather(3, near.unsqueeze(1).expand(-1, x.shape[1], -1, -1))
                here = x.unsqueeze(3).expand_as(there)
                x = F.leaky_relu(conv(torch.cat([there - here, here], 1)), 0.2).max(-1).values
                found.append(x)
            return self.head(torch.cat(found, 1).mean(-1))

    model, x, y = DGCNN(), torch.randn(2, 6, 3), labels(2, classes=3)
    return model, lambda: F.cross_entropy(model(x), y)


@CASES
def point_cloud_completion_with_chamfer_distance() -> Built:
    model, x = (
        nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 18), nn.Unflatten(1, (6, 3))),
        torch.randn(2, 4, 3),
    )
    whole = torch.randn(2, 6, 3)

    def loss() -> Tensor:
        far = torch.cdist(model(x), whole)
        return far.min(2).values.mean() + far.amin(1).mean() + torch.cdist(model(x), whole, p=1.0).mean()

    return model, loss


# --- molecules ----------------------------------------------------------------------------------------------


@CASES
def schnet_with_forces() -> Built:
    class SchNet(nn.Module):
        """Continuous filters of distances; forces are the gradient of the energy, and part of the loss."""

        def __init__(self, c: int = 4) -> None:
            super().__init__()
            self.kinds, self.filter = nn.Embedding(3, c), nn.Sequential(nn.Linear(6, c), nn.Softplus(), nn.Linear(c, c))
            self.lin, self.out = nn.Linear(c, c), nn.Sequential(nn.Linear(c, c), nn.Softplus(), nn.Linear(c, 1))
            self.register_buffer("centres", torch.linspace(0, 3, 6))

        def forward(self, kinds: Tensor, at: Tensor) -> Tensor:
            s, t = torch.where(~torch.eye(len(at), dtype=torch.bool))
            far = (at[s] - at[t]).norm(dim=1)
            waves = torch.exp(-2 * (far[:, None] - self.centres) ** 2)
            cut = 0.5 * (torch.cos(far * math.pi / 5) + 1) * (far < 5)
            x = self.kinds(kinds)
            x = x + torch.zeros_like(x).index_add(0, t, self.lin(x)[s] * self.filter(waves) * cut[:, None])
            return self.out(x).sum()

    model, kinds, at, forces = SchNet(), labels(5, classes=3), torch.randn(5, 3) * 2, torch.randn(5, 3)

    def loss() -> Tensor:
        places = at.clone().requires_grad_(True)
        energy = model(kinds, places)
        (slope,) = grad(energy, places, create_graph=True)
        return energy.square() + (slope + forces).square().mean()

    return model, loss


@CASES
def equivariant_graph_network() -> Built:
    class EGNN(nn.Module):
        """Messages from squared distances move the points along their differences."""

        def __init__(self, c: int = 4) -> None:
            super().__init__()
            self.edge, self.node = nn.Linear(2 * c + 1, c), nn.Linear(2 * c, c)
            self.move = nn.Linear(c, 1, bias=False)

        def forward(self, h: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
            n = len(h)
            apart = x[:, None] - x[None]
            pairs = torch.cat([h[:, None].expand(-1, n, -1), h[None].expand(n, -1, -1)], -1)
            sent = F.silu(self.edge(torch.cat([pairs, apart.square().sum(-1, keepdim=True)], -1)))
            x = x + (apart * self.move(sent).tanh()).sum(1) / (n - 1)
            return h + self.node(torch.cat([h, sent.sum(1)], -1)), x

    model, h, x, y = nn.ModuleList([EGNN(), EGNN()]), torch.randn(5, 4), torch.randn(5, 3), torch.randn(5, 3)

    def loss() -> Tensor:
        a, b = h, x
        for layer in model:
            a, b = layer(a, b)
        return F.mse_loss(b, y) + a.square().mean()

    return model, loss


@CASES
def tensor_field_with_angles() -> Built:
    class Angles(nn.Module):
        """DimeNet: angles between edges by acos and atan2, radial Bessel functions, polynomial cut-off."""

        def __init__(self) -> None:
            super().__init__()
            self.frequency = nn.Parameter(math.pi * torch.arange(1.0, 4))
            self.net, self.out = nn.Linear(3 + 3, 5), nn.Linear(5, 1)

        def forward(self, at: Tensor) -> Tensor:
            i, j, k = torch.combinations(torch.arange(len(at)), 3).unbind(1)
            a, b = at[j] - at[i], at[k] - at[i]
            across = torch.linalg.cross(a, b).norm(dim=-1)
            angle = torch.atan2(across, (a * b).sum(-1))
            other = torch.acos(F.cosine_similarity(a, b).clamp(-0.999, 0.999))
            far = a.norm(dim=-1, keepdim=True) / 6
            bessel = torch.sin(self.frequency * far) / far * (1 - 10 * far**3 + 15 * far**4 - 6 * far**5)
            terms = torch.stack([angle.cos(), (2 * angle).cos(), torch.sinc(other)], -1)
            return self.out(F.silu(self.net(torch.cat([bessel, terms], -1)))).sum()

    model, at = Angles(), nn.Parameter(torch.randn(5, 3))
    model.register_parameter("at", at)
    return model, lambda: model(at).square()


@CASES
def structure_prediction_by_frames() -> Built:
    class Triangles(nn.Module):
        """AlphaFold's multiplicative triangle updates of pairs, an outer product mean, and frames from points."""

        def __init__(self, c: int = 4) -> None:
            super().__init__()
            self.pair, self.outer = nn.Linear(c, 5 * c), nn.Linear(c * c, c)
            self.norm, self.points, self.out = nn.LayerNorm(c), nn.Linear(c, 9), nn.Linear(c, 1)

        def forward(self, msa: Tensor) -> tuple[Tensor, Tensor]:
            z = self.outer(torch.einsum("sic,sjd->ijcd", msa, msa).flatten(2) / len(msa))
            a, b, ga, gb, g = self.pair(self.norm(z)).chunk(5, -1)
            a, b = a * ga.sigmoid(), b * gb.sigmoid()
            z = z + g.sigmoid() * (torch.einsum("ikc,jkc->ijc", a, b) + torch.einsum("kic,kjc->ijc", a, b))
            p = self.points(z.diagonal(dim1=0, dim2=1).T).unflatten(-1, (3, 3))
            x = F.normalize(p[:, 0] - p[:, 1], dim=-1)
            y = p[:, 2] - p[:, 1]
            y = F.normalize(y - (x * y).sum(-1, keepdim=True) * x, dim=-1)
            frames = torch.stack([x, y, torch.linalg.cross(x, y)], -1)
            local = torch.einsum("iab,ija->ijb", frames, p[None, :, 1] - p[:, None, 1])
            return local, self.out(z).squeeze(-1)

    model, msa, wanted = Triangles(), torch.randn(3, 5, 4), torch.randn(5, 5, 3)

    def loss() -> Tensor:
        local, pair = model(msa)
        return (local - wanted).square().sum(-1).add(1e-4).sqrt().clamp(max=10).mean() + F.softplus(pair).mean()

    return model, loss


@CASES
def persistent_graph_network_by_resistance() -> Built:
    """Effective resistances through a pseudo-inverse of a Laplacian with learned conductances."""
    model, wanted = nn.ParameterDict({"log": torch.randn(10)}), torch.rand(10)

    def loss() -> Tensor:
        weights = model["log"].exp()
        s, t = EDGES
        incidence = torch.zeros(10, N).scatter(1, s[:, None], 1.0).scatter(1, t[:, None], -1.0)
        laplacian = incidence.T @ torch.diag(weights) @ incidence
        inverse = torch.linalg.pinv(laplacian, hermitian=True)
        resistance = torch.einsum("ea,ab,eb->e", incidence, inverse, incidence)
        trees = torch.logdet(laplacian[1:, 1:])
        return F.mse_loss(resistance, wanted) + 0.1 * trees

    return model, loss
