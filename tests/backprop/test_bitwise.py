"""Recording changes nothing: losses, gradients, parameters, buffers and random state are equal bit for bit."""

import copy

import pytest
import torch
from torch import nn

from gradlab.backprop import Tape


class Last(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.layer = kind(6, 5, batch_first=True)

    def forward(self, x):
        return self.layer(x.unflatten(1, (2, 6)))[0][:, -1]


MODELS = {
    "dropout": lambda: nn.Sequential(nn.Linear(12, 8), nn.Dropout(0.5), nn.ReLU(inplace=True), nn.Linear(8, 5)),
    "batch_norm": lambda: nn.Sequential(nn.Linear(12, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 5)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 2, 2)), nn.Conv2d(3, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Dropout(0.2), nn.Linear(36, 5),
    ),
    "gru": lambda: Last(nn.GRU),
    "lstm": lambda: Last(nn.LSTM),
    "attention": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 4)), nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), nn.Flatten(), nn.Linear(12, 5)
    ),
}  # fmt: skip


def train(model, with_tape):
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    seen = []
    for _ in range(3):
        x, y = torch.randn(7, 12), torch.randint(5, (7,))
        optimizer.zero_grad()
        if with_tape:
            with Tape() as tape:
                loss = nn.functional.cross_entropy(model(x), y)
            tape.backward(loss)
        else:
            loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        seen += [loss.detach(), *[p.grad.clone() for p in model.parameters()]]
        optimizer.step()
        seen += [torch.rand(2), *[t.clone() for t in model.state_dict().values()]]
    return [*seen, torch.get_rng_state()]


@pytest.mark.parametrize("name", MODELS)
def test_with_and_without_the_tape(name):
    torch.manual_seed(0)
    model = MODELS[name]()
    twin = copy.deepcopy(model)
    plain, taped = train(model, with_tape=False), train(twin, with_tape=True)
    assert len(plain) == len(taped)
    assert all(torch.equal(a, b) for a, b in zip(plain, taped, strict=True))


def test_the_sweep_gives_the_same_numbers_every_time():
    torch.manual_seed(0)
    model = MODELS["convolution"]()
    with Tape() as tape:
        loss = model(torch.randn(7, 12)).square().sum()
    first, second = tape.backward(loss, retain_tape=True), tape.backward(loss)
    assert all(torch.equal(first[p], second[p]) for p in model.parameters())
