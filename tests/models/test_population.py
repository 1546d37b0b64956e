"""A population of networks: each member is the network that it would be alone, and meets no other."""

import copy
import pickle

import pytest
import torch
from torch import nn

from gradlab.backprop import Tape
from gradlab.losses import Bce, CrossEntropy, Huber, Mse
from gradlab.models import ACTIVATIONS, ConvNet, Linear, Logistic, Mlp, Population, Recurrent, Transformer

P = 3


class Own(nn.Module):
    """What a network of somebody's own may have: tensors at its root, a number, tied and frozen ones, buffers."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.randn(()))
        self.first = nn.Linear(4, 4)
        self.again = nn.Linear(4, 4, bias=False)
        self.again.weight = self.first.weight
        self.frozen = nn.Parameter(torch.randn(4), requires_grad=False)
        self.register_buffer("shift", torch.randn(4))
        self.register_buffer("unsaved", torch.randn(4), persistent=False)
        self.head = nn.Linear(4, 3)

    def forward(self, x):
        h = self.scale * self.first(x).tanh() + self.frozen
        h = self.again(h) + self.shift * self.unsaved
        return self.head(h if self.training else 2 * h)


FEATURES = torch.randn(8, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
IMAGES = torch.randn(8, 16, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
TEXTS = torch.randint(0, 5, (4, 6), generator=torch.Generator().manual_seed(3))
CLASSES = torch.arange(8) % 3
NEXT = (TEXTS + 1) % 5

CASES = {
    **{
        f"mlp {name}": (lambda name=name: Mlp(4, [6, 5], 3, name), FEATURES, CLASSES, CrossEntropy())
        for name in ACTIVATIONS
    },
    "mlp, residual and norm": (lambda: Mlp(4, [4, 4], 3, "relu", "he", True, True), FEATURES, CLASSES, CrossEntropy()),
    "mlp, mse": (lambda: Mlp(4, [6], 3), FEATURES, CLASSES, Mse()),
    "mlp, huber": (lambda: Mlp(4, [6], 1), FEATURES, FEATURES[:, :1], Huber()),
    "linear": (lambda: Linear(4, 2), FEATURES, FEATURES[:, :2], Mse()),
    "logistic": (lambda: Logistic(4), FEATURES, CLASSES % 2, Bce()),
    "convnet": (lambda: ConvNet([1, 4, 4], [3, 2], 3), IMAGES, CLASSES, CrossEntropy()),
    "transformer": (lambda: Transformer(5, 6, [8], width=4), TEXTS, NEXT, CrossEntropy()),
    "in place": (lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(True), nn.Linear(6, 3)), FEATURES, CLASSES, Mse()),
    "batchnorm": (lambda: nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 3)), FEATURES, CLASSES, Mse()),
    "own": (Own, FEATURES, CLASSES, CrossEntropy()),
}


def networks(make, count=P):
    """As many networks, each from a seed of its own, in float64."""
    made = []
    for seed in range(count):
        torch.manual_seed(seed)
        made.append(make().double())
    return made


def losses_of(population, x, y, loss):
    return torch.func.vmap(loss, (0, None))(population(x), y)


def same(a, b):
    """To rounding: float64 has 16 digits, and a sum over a batch in another order may lose two of them."""
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", CASES)
def test_predictions_losses_and_gradients_are_those_of_single_networks(name):
    make, x, y, loss = CASES[name]
    alone, population = networks(make), Population(networks(make))
    predictions = [network(x) for network in alone]
    same(population(x), torch.stack(predictions))
    losses = losses_of(population, x, y, loss)
    same(losses, torch.stack([loss(prediction, y) for prediction in predictions]))
    losses.sum().backward()
    for member, prediction in enumerate(predictions):
        loss(prediction, y).backward()
        for path, parameter in alone[member].named_parameters():
            stacked = population.get_parameter(path)
            assert stacked.requires_grad == parameter.requires_grad
            same(stacked[member], parameter)
            if parameter.requires_grad:
                # A true zero, as before a BatchNorm, is the rounding noise of numbers of about 1.
                torch.testing.assert_close(stacked.grad[member], parameter.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_handwritten_sweep_finds_the_same_gradients_under_the_same_names(name):
    make, x, y, loss = CASES[name]
    population = Population(networks(make))
    with Tape() as tape:
        total = losses_of(population, x, y, loss).sum()
    by_hand = tape.backward(total).named(population)
    total.backward()
    for path, parameter in population.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(by_hand[path], parameter.grad, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp tanh", "convnet", "transformer", "own"])
def test_operations_belong_to_the_modules_of_a_single_network(name):
    make, x, _, _ = CASES[name]
    (alone, *_), population = networks(make), Population(networks(make))
    places = []
    for network in (alone, population):
        with Tape() as tape:
            network(x)
        places.append({entry.scope.label for entry in tape.entries})
    assert places[1] - {"Population"} <= places[0]
    assert {path for path, part in alone.named_modules() if any(True for _ in part.parameters(recurse=False))} - {
        ""
    } <= places[1]


def coupled(losses, parameters):
    """The pairs of members of which one's loss has a gradient in the other's rows."""
    found = set()
    for member in range(len(losses)):
        for gradient in torch.autograd.grad(losses[member], parameters, retain_graph=True, allow_unused=True):
            if gradient is not None:
                rows = gradient.reshape(len(gradient), -1).ne(0).any(1).nonzero().flatten().tolist()
                found |= {(member, row) for row in rows if row != member}
    return found


@pytest.mark.parametrize("name", CASES)
def test_no_members_loss_depends_on_another(name):
    make, x, y, loss = CASES[name]
    population = Population(networks(make))
    parameters = [p for p in population.parameters() if p.requires_grad]
    assert coupled(losses_of(population, x, y, loss), parameters) == set()


class Mixing(Population):
    """Adds a trace of the first member's predictions to the last one's."""

    def forward(self, x):
        own = super().forward(x)
        return torch.cat([own[:-1], own[-1:] + 1e-9 * own[:1]])


def test_a_member_that_looks_at_another_is_found():
    population = Mixing(networks(lambda: Mlp(4, [6], 3)))
    losses = losses_of(population, FEATURES, CLASSES, CrossEntropy())
    assert coupled(losses, list(population.parameters())) == {(2, 0)}


def test_the_statistics_of_a_batchnorm_are_each_members_own():
    def make():
        return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))

    alone, population = networks(make), Population(networks(make))
    for x in (FEATURES, 3 * FEATURES + 1):
        population(x)
        for network in alone:
            network(x)
    for name, values in population.state_dict().items():
        same(values, torch.stack([network.state_dict()[name] for network in alone]))
    population.eval()
    same(population(FEATURES), torch.stack([network.eval()(FEATURES) for network in alone]))


def test_dropout_draws_for_each_member_and_rests_in_evaluation():
    population = Population([nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5)) for _ in range(P)])
    with torch.no_grad():
        for parameter in population.parameters():
            parameter.fill_(1.0)
    torch.manual_seed(0)
    masks = population(torch.zeros(4))
    assert sorted(masks.unique().tolist()) == [0.0, 2.0]
    assert not masks[0].equal(masks[1])
    assert not masks[1].equal(masks[2])
    assert population.eval()(torch.zeros(4)).equal(torch.ones(P, 64))


def test_evaluation_reaches_the_network_itself():
    alone, population = networks(Own), Population(networks(Own))
    same(population.eval()(FEATURES), torch.stack([network.eval()(FEATURES) for network in alone]))
    same(population.train()(FEATURES), torch.stack([network.train()(FEATURES) for network in alone]))


@pytest.mark.parametrize("name", CASES)
def test_a_member_is_a_network_of_its_own(name):
    make, x, _, _ = CASES[name]
    population = Population(networks(make))
    for index, alone in enumerate(networks(make)):
        member = population.member(index)
        assert type(member) is type(alone)
        assert list(member.state_dict()) == list(alone.state_dict())
        assert [p.requires_grad for p in member.parameters()] == [p.requires_grad for p in alone.parameters()]
        same(member(x), alone(x))
        before = population.state_dict()
        before = {key: values.clone() for key, values in before.items()}
        with torch.no_grad():
            for parameter in member.parameters():
                parameter.zero_()
        assert all(values.equal(before[key]) for key, values in population.state_dict().items())


def test_what_is_tied_stays_tied():
    population = Population(networks(Own))
    assert population.again.weight is population.first.weight
    member = population.member(1)
    assert member.again.weight is member.first.weight


@pytest.mark.parametrize("name", ["mlp tanh", "own", "batchnorm"])
def test_a_row_of_the_saved_state_loads_into_a_single_network(name):
    make, x, _, _ = CASES[name]
    members = networks(make)
    population = Population(networks(make))
    saved = {key: rows[2] for key, rows in population.state_dict().items()}
    assert set(saved) == set(members[0].state_dict())
    loaded = make().double()
    loaded.load_state_dict(saved)
    if name != "own":  # a buffer that is not saved is not loaded either
        same(loaded(x), members[2](x))


def test_copies_and_conversions_keep_the_parts_together():
    population = Population(networks(Own))
    for twin in (copy.deepcopy(population), pickle.loads(pickle.dumps(population))):
        same(twin(FEATURES), population(FEATURES))
        with torch.no_grad():
            twin.scale.mul_(2.0)
        assert not twin(FEATURES).allclose(population(FEATURES))
    single = population.float()
    assert single(FEATURES.float()).dtype == torch.float32
    assert single.member(0)(FEATURES.float()).dtype == torch.float32


def test_the_others_stay_as_they_are():
    members = networks(lambda: Mlp(4, [6], 3))
    Population(members)
    assert members[1].state_dict()["0.weight"].shape == (6, 4)


def test_it_says_what_it_is():
    assert "3 × Mlp" in repr(Population(networks(lambda: Mlp(4, [6], 3))))


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([], r"at least one member"),
        ([nn.Linear(2, 1), nn.Linear(3, 1)], r"of one class, with parameters of the same names and shapes"),
        ([nn.Linear(2, 1), nn.Linear(2, 1).double()], r"of one class"),
        ([nn.Linear(2, 1), nn.Sequential(nn.Linear(2, 1))], r"of one class"),
        ([nn.GRU(2, 1)], r"torch\.nn\.GRU runs all its time steps as one operation.*torch\.nn\.GRUCell"),
        ([Recurrent(5, [3], "lstm")], r"torch\.nn\.LSTM runs"),
    ],
)
def test_what_makes_no_population_is_refused(members, said):
    with pytest.raises(ValueError, match=said):
        Population(members)


class Asks(nn.Module):
    """Decides by a number, which a population has several of."""

    def __init__(self, ask):
        super().__init__()
        self.linear, self.ask = nn.Linear(2, 1), ask

    def forward(self, x):
        y = self.linear(x)
        return y if self.ask(y.sum()) else -y


@pytest.mark.parametrize(("ask", "cause"), [(bool, "control flow"), (torch.Tensor.item, r"\.item\(\)")])
def test_a_forward_that_asks_for_a_number_is_refused_by_name(ask, cause):
    population = Population([Asks(ask) for _ in range(P)])
    with pytest.raises(ValueError, match=rf"forward of Asks cannot be mapped.*{cause}.*: write .* with torch\.where"):
        population(torch.ones(3, 2))


def test_an_error_of_the_networks_own_stays_what_it_is():
    with pytest.raises(RuntimeError, match="size"):
        Population([nn.Linear(2, 1) for _ in range(P)])(torch.ones(3, 5))


@pytest.mark.parametrize("index", [-1, P])
def test_there_is_no_other_member(index):
    with pytest.raises(IndexError, match=rf"has members 0 to 2: no {index}"):
        Population(networks(lambda: Mlp(4, [6], 3))).member(index)
