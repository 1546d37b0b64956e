"""The handwritten update rules against torch.optim's, step by step.

How far two orders of the same operations may part: with u = 2⁻⁵³, a step rounds θ once, by u·|θ| at most, in each of
the two. The move is a few operations away from the rule's memory. A memory s ← βs + (1 − β)x makes 3 roundings a step,
and of each the share βᵏ is left k steps later: together at most 3u / (1 − β) of its size (where the memory is a plain
sum, 3u for each step). So a move η·d is off by at most 8u·M·η·|d| with M = 1 / (1 − β), and θ after T steps by

    T · u · (2 max|θ| + 8 · M · η · max|d|).

A weight decay pulls θ, and with it the difference, towards 0. Every slip of the pen is larger by orders of magnitude:
the last tests make some.
"""

import copy

import pytest
import torch

from gradlab import optimizers

U, STEPS = 2.0**-53, 1000
SHAPES = [(), (3,), (4, 3), (2, 3, 2)]

# Ours, torch's, settings of both, of torch's alone, and the M of the longest memory.
CASES = {
    "sgd": (optimizers.Sgd, torch.optim.SGD, {}, {}, 1),
    "momentum": (optimizers.Momentum, torch.optim.SGD, {"momentum": 0.9}, {}, 10),
    "nesterov": (optimizers.Nesterov, torch.optim.SGD, {"momentum": 0.8}, {"nesterov": True}, 10),
    "adagrad": (optimizers.Adagrad, torch.optim.Adagrad, {"eps": 1e-9}, {}, STEPS),
    "rmsprop": (optimizers.Rmsprop, torch.optim.RMSprop, {"alpha": 0.95, "eps": 1e-7}, {}, 20),
    "adam": (optimizers.Adam, torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}, {}, 1000),
    "adam, other betas": (optimizers.Adam, torch.optim.Adam, {"betas": (0.0, 0.9), "eps": 1e-3}, {}, 10),
    "adamw": (optimizers.AdamW, torch.optim.AdamW, {"betas": (0.8, 0.99), "eps": 1e-8}, {}, 100),
}


def parameters(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_() for shape in SHAPES]


def groups(tensors, lr, weight_decay):
    """Two groups with settings of their own; the first follows the optimizer's."""
    return [{"params": tensors[:2]}, {"params": tensors[2:], "lr": 3 * lr, "weight_decay": weight_decay / 2}]


def gradients(steps):
    """Of every size from 0.01 to 100, some entries 0 at most steps, and one tensor without any at each third step."""
    generator = torch.Generator().manual_seed(1)
    sizes = [10 ** (4 * torch.rand(shape, dtype=torch.float64, generator=generator) - 2) for shape in SHAPES]
    for step in range(steps):
        made = [s * torch.randn(s.shape, dtype=torch.float64, generator=generator) for s in sizes]
        made[2][0] *= step % 7 == 0
        yield [None if n == 1 and step % 3 == 0 else g for n, g in enumerate(made)]


def largest_excess(ours, theirs, memory, steps=STEPS, lr=0.01):
    """The largest difference over what rounding explains; above 1 it is not rounding.

    Args:
        ours, theirs: make the two optimizers from groups.
        memory: the M of the derivation above.
    """
    own, other = parameters(), parameters()
    first, second = ours(groups(own, lr, 0.01)), theirs(groups(other, lr, 0.01))
    excess, largest, move = 0.0, 0.0, 0.0
    for step, given in enumerate(gradients(steps)):
        before = [p.detach().clone() for p in other]
        for p, q, g in zip(own, other, given, strict=True):
            p.grad = None if g is None else g.clone()
            q.grad = None if g is None else g.clone()
        first.step()
        second.step()
        largest = max(largest, *(float(q.detach().abs().max()) for q in other))
        move = max(move, *(float((q - b).detach().abs().max()) for q, b in zip(other, before, strict=True)))
        allowed = (step + 1) * U * (2 * largest + 8 * memory * move)
        apart = max(float((p - q).detach().abs().max()) for p, q in zip(own, other, strict=True))
        excess = max(excess, apart / allowed)
    return excess


def makers(case, lr=0.01, **more):
    ours, theirs, both, only, memory = CASES[case]
    settings = {"lr": lr, **both, **more}
    return lambda p: ours(p, **settings), lambda p: theirs(p, **settings, **only), memory


@pytest.mark.parametrize("maximize", [False, True])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("case", CASES)
def test_equal_to_rounding_over_a_thousand_steps(case, weight_decay, maximize):
    ours, theirs, memory = makers(case, weight_decay=weight_decay, maximize=maximize)
    assert largest_excess(ours, theirs, memory, STEPS if not maximize else 100) <= 1


class AdamWithoutCorrection(optimizers.Adam):
    def update(self, p, g, memory, group):
        first, second = group["betas"]
        memory["m"] = m = first * memory.get("m", 0) + (1 - first) * g
        memory["v"] = v = second * memory.get("v", 0) + (1 - second) * g * g
        p -= group["lr"] * m / (v.sqrt() + group["eps"])


class AdamWithEpsUnderTheRoot(optimizers.Adam):
    def update(self, p, g, memory, group):
        eps, group = group["eps"], {**group, "eps": 0.0}
        before = p.clone()
        super().update(p, g, memory, group)
        first, second = group["betas"]
        t = memory["t"]
        p.copy_(before - group["lr"] * (memory["m"] / (1 - first**t)) / (memory["v"] / (1 - second**t) + eps).sqrt())


class AdamWWithDecayInTheGradient(optimizers.AdamW):
    decay = optimizers.Handwritten.decay


class MomentumWithMeanGradient(optimizers.Momentum):
    def update(self, p, g, memory, group):
        memory["v"] = v = group["momentum"] * memory.get("v", 0) + (1 - group["momentum"]) * g
        p -= group["lr"] * v


class NesterovWithoutLookingAhead(optimizers.Nesterov):
    update = optimizers.Momentum.update


class RmspropOfTheOldSquare(optimizers.Rmsprop):
    def update(self, p, g, memory, group):
        p -= group["lr"] * g / (memory.get("s", g * g).sqrt() + group["eps"])
        memory["s"] = group["alpha"] * memory.get("s", 0) + (1 - group["alpha"]) * g * g


class SgdThatIgnoresGroups(optimizers.Sgd):
    def update(self, p, g, memory, group):
        p -= self.defaults["lr"] * g


WRONG = {
    "adam": AdamWithoutCorrection,
    "adam, other betas": AdamWithEpsUnderTheRoot,
    "adamw": AdamWWithDecayInTheGradient,
    "momentum": MomentumWithMeanGradient,
    "nesterov": NesterovWithoutLookingAhead,
    "rmsprop": RmspropOfTheOldSquare,
    "sgd": SgdThatIgnoresGroups,
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_rule_is_noticed(case):
    _, theirs, both, only, memory = CASES[case]
    settings = {"lr": 0.01, "weight_decay": 0.1, **both}
    found = largest_excess(lambda p: WRONG[case](p, **settings), lambda p: theirs(p, **settings, **only), memory, 30)
    assert found > 1e6


@pytest.mark.parametrize("case", CASES)
def test_goes_on_from_its_state_as_if_nothing_had_been(case):
    ours, _, _ = makers(case, weight_decay=0.1)
    own, other = parameters(), parameters(seed=5)
    first, second = ours(groups(own, 0.01, 0.1)), ours(groups(other, 0.5, 0.0))
    for step, given in enumerate(gradients(60)):
        if step == 30:
            for p, q in zip(own, other, strict=True):
                q.data.copy_(p.data)
            second.load_state_dict(copy.deepcopy(first.state_dict()))
        for p, q, g in zip(own, other, given, strict=True):
            p.grad = q.grad = g
        first.step()
        if step >= 30:
            second.step()
    assert all(torch.equal(p, q) for p, q in zip(own, other, strict=True))


@pytest.mark.parametrize("case", CASES)
def test_complex_numbers_count_as_pairs_of_real_ones(case):
    ours, theirs, _ = makers(case, weight_decay=0.1)
    generator = torch.Generator().manual_seed(2)
    own = torch.randn(3, 2, dtype=torch.complex128, generator=generator).requires_grad_()
    other = own.detach().clone().requires_grad_()
    first, second = ours([own]), theirs([other])
    for _ in range(20):
        own.grad = torch.randn(3, 2, dtype=torch.complex128, generator=generator)
        other.grad = own.grad.clone()
        first.step()
        second.step()
    torch.testing.assert_close(own, other, rtol=1e-12, atol=1e-12)


def test_a_closure_is_called_with_gradients_on_and_its_loss_comes_back():
    theta = torch.nn.Parameter(torch.tensor([2.0, -1.0]))
    optimizer = optimizers.Sgd([theta], lr=0.25)

    def closure():
        optimizer.zero_grad()
        loss = theta.square().sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 5.0
    assert theta.tolist() == [1.0, -0.5]


BAD = {
    "lr": (optimizers.Sgd, {"lr": -1.0}),
    "weight_decay": (optimizers.Sgd, {"weight_decay": -0.1}),
    "momentum": (optimizers.Nesterov, {"momentum": 1.0}),
    "eps": (optimizers.Adagrad, {"eps": -1.0}),
    "alpha": (optimizers.Rmsprop, {"alpha": float("nan")}),
    "betas[1]": (optimizers.Adam, {"betas": (0.9, 1.0)}),
}


@pytest.mark.parametrize("name", BAD)
def test_numbers_out_of_range_are_refused_by_name(name):
    kind, settings = BAD[name]
    with pytest.raises(ValueError, match=name.replace("[", r"\[")):
        kind(parameters(), **settings)


def test_a_sparse_gradient_is_refused():
    table = torch.nn.Embedding(4, 2, sparse=True)
    table(torch.tensor([1])).sum().backward()
    with pytest.raises(RuntimeError, match="dense"):
        optimizers.Adam(table.parameters()).step()
