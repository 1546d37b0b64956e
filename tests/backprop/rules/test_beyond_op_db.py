"""Operations that real models run and PyTorch's own list of samples leaves out, against autograd."""

import pytest
import torch
import torch.nn.functional as F
from opinfo import Comparison
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import gradlab

D = torch.float64


def numbers(*shape, dtype=D):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(len(shape))).requires_grad_()


# --- grids, attention, sequences, weights -------------------------------------------------------------------


@pytest.mark.parametrize("size", [(2, 3, 4, 5), (2, 1, 3, 4, 2)])
@pytest.mark.parametrize("align_corners", [True, False])
def test_grids_of_affine_maps(size, align_corners):
    d = len(size) - 2
    Comparison(lambda theta: F.affine_grid(theta, size, align_corners), (numbers(2, d, d + 1),)).check()


@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior has changed for unit-size grids")
def test_a_grid_of_one_entry():
    Comparison(lambda theta: F.affine_grid(theta, (2, 3, 1, 4), True), (numbers(2, 2, 3),)).check()


MASKS = {"none": None, "scores": torch.randn(5, 5, dtype=D), "heads": torch.rand(2, 6, 5, 5) > 0.2}


@pytest.mark.parametrize("heads", [(6, 3, 3), (6, 1, 1), (6, 6, 6)])
@pytest.mark.parametrize("mask", MASKS)
def test_attention_of_grouped_queries(heads, mask):
    def attention(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, MASKS[mask], is_causal=mask == "none", enable_gqa=True)

    Comparison(attention, tuple(numbers(2, h, 5, 4) for h in heads)).check()


@pytest.mark.parametrize("batch_first", [True, False])
def test_packed_sequences(batch_first):
    x = numbers(3, 7, 2) if batch_first else numbers(7, 3, 2)

    def packed(x):
        pack = pack_padded_sequence(x, torch.tensor([4, 6, 1]), batch_first, enforce_sorted=False)
        return pack.data, pad_packed_sequence(pack, batch_first, padding_value=2.0)[0]

    Comparison(packed, (x,)).check()


@pytest.mark.parametrize(("shape", "dim"), [((4, 3, 2), 0), ((4, 3, 2), 2), ((4,), 0), ((4, 1), 0)])
def test_weight_norm(shape, dim):
    lengths = [n if d == dim else 1 for d, n in enumerate(shape)]
    Comparison(lambda v, m: torch._weight_norm(v, m, dim), (numbers(*shape), numbers(*lengths))).check()


# --- sparse matrices ----------------------------------------------------------------------------------------

PLACES = torch.tensor([[0, 1, 2, 0, 1], [1, 2, 0, 0, 2]])  # one of them twice


def coo(values):
    return torch.sparse_coo_tensor(PLACES, values, (3, 3), check_invariants=True)


def csr(values):
    rows, columns = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 1, 2, 0, 1])
    return torch.sparse_csr_tensor(rows, columns, values, (3, 3), check_invariants=True)


SPARSE = {
    "product": lambda v, x: torch.sparse.mm(coo(v), x),
    "product by @": lambda v, x: coo(v) @ x,
    "transposed": lambda v, x: coo(v).t() @ x,
    "addmm": lambda v, x: torch.sparse.addmm(x, coo(v), x, beta=2.0, alpha=0.5),
    "values": lambda v, x: coo(v).coalesce().values(),
    "dense": lambda v, x: coo(v).to_dense() @ x,
    "two sparse ones": lambda v, x: torch.sparse.mm(coo(v), coo(v.sin())).to_dense(),
    "mask": lambda v, x: (x @ x.mT).sparse_mask(coo(v.detach()).coalesce()).to_dense(),
}
OF_REAL_NUMBERS = {
    "compressed rows": lambda v, x: csr(v) @ x,
    "values of compressed rows": lambda v, x: csr(v).values(),
    "sum of rows": lambda v, x: torch.sparse.sum(coo(v), 1).to_dense(),
    "sum of columns": lambda v, x: torch.sparse.sum(coo(v), 0).to_dense(),
    "softmax": lambda v, x: torch.sparse.mm(torch.sparse.softmax(coo(v), 1), x),
    "log softmax": lambda v, x: torch.sparse.log_softmax(coo(v), 0).to_dense(),
    "entries that are vectors": lambda v, x: torch.sparse_coo_tensor(PLACES, x[PLACES[0]], (3, 3, 2)).to_dense(),
}


@pytest.mark.filterwarnings("ignore:Sparse (CSR tensor support|invariant checks)")
@pytest.mark.parametrize(
    ("name", "dtype"),
    [(name, dtype) for name in SPARSE for dtype in (D, torch.complex128)] + [(name, D) for name in OF_REAL_NUMBERS],
)
def test_sparse_matrices_of_parameters(name, dtype):
    function = (SPARSE | OF_REAL_NUMBERS)[name]
    Comparison(function, (numbers(5, dtype=dtype), numbers(3, 2, dtype=dtype))).check()


# --- quantization-aware training ----------------------------------------------------------------------------

STEPS, ZEROS = torch.rand(6) * 0.2 + 0.1, torch.zeros(6, dtype=torch.int32)
ROUNDED = {
    "whole": lambda x: torch.fake_quantize_per_tensor_affine(x, 0.1, 3, -8, 7),
    "whole, by tensors": lambda x: torch.fake_quantize_per_tensor_affine(x, STEPS[0], ZEROS[0], -8, 7),
    "by channel": lambda x: torch.fake_quantize_per_channel_affine(x, STEPS, ZEROS, 1, -8, 7),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_passes_gradients_straight_through(name):
    Comparison(ROUNDED[name], (numbers(4, 6),)).check()


@pytest.mark.parametrize("zero", [0.0, 2.4])
def test_learned_step_sizes(zero):
    """Kernels in single precision only."""
    x, steps = numbers(4, 6, dtype=torch.float32), STEPS.clone().requires_grad_()
    zeros = torch.full((6,), zero, requires_grad=True)
    whole, by_channel = (
        torch._fake_quantize_learnable_per_tensor_affine,
        torch._fake_quantize_learnable_per_channel_affine,
    )
    one = steps.detach()[:1].requires_grad_(), zeros.detach()[:1].requires_grad_()
    Comparison(lambda x, s, z: whole(x, s, z, -8, 7, 0.3), (x, *one)).check(1e-5, 1e-6)
    Comparison(lambda x, s, z: by_channel(x, s, z, 1, -8, 7, 0.3), (x, steps, zeros)).check(1e-5, 1e-6)


def test_a_learned_step_size_with_a_negative_zero_point():
    """Outside the range y = s·(7 + 1). Autograd takes a zero point of −1 for 0 in the backward pass, and gives 7."""
    x, s, zero = torch.tensor([100.0]), torch.tensor([0.1], requires_grad=True), torch.tensor([-1.0])
    with gradlab.Tape() as tape:
        y = torch._fake_quantize_learnable_per_tensor_affine(x, s, zero, -8, 7)
    assert tape.backward(y)[s].tolist() == [8]


# --- random numbers without autograd ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["normal_", "log_normal_", "cauchy_", "uniform_", "exponential_"])
def test_random_numbers_drawn_in_place_are_constants(name):
    x = numbers(3)
    with torch.no_grad(), gradlab.Tape() as tape:
        drawn = getattr(torch.empty(3, dtype=D), name)()
        loss = (drawn * x).sum()
    assert torch.equal(tape.backward(loss)[x], drawn)


# --- second derivatives of losses and layers ----------------------------------------------------------------

X, T, CHANNELS, IMAGES = (3, 4), torch.rand(3, 4, dtype=D), (4,), (3, 4, 2, 2)
MEAN, VAR = torch.rand(4, dtype=D), torch.rand(4, dtype=D) + 0.5
SECOND = {
    "mse": (F.mse_loss, X, X),
    "mse, summed": (lambda x, t: F.mse_loss(x, t, reduction="sum"), X, X),
    "mse, each": (lambda x, t: F.mse_loss(x, t, reduction="none"), X, X),
    "smooth l1": (lambda x, t: F.smooth_l1_loss(x, t, beta=0.7), X, X),
    "huber": (lambda x, t: F.huber_loss(x, t, delta=0.8), X, X),
    "bce": (lambda x, t: F.binary_cross_entropy(x.sigmoid(), t.sigmoid(), T), X, X),
    "soft margin": (lambda x: F.soft_margin_loss(x, (T - 0.5).sign()), X),
    "glu": (F.glu, X),
    "hardswish": (lambda x: F.hardswish(2 * x), X),
    "prelu": (F.prelu, X, CHANNELS),
    "rrelu": (lambda x: F.rrelu(x, training=True), X),
    "rrelu in evaluation": (F.rrelu, X),
    "masked scatter": (lambda x, s: x.masked_scatter(T > 0.5, s.sin()), X, X),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (4,), w, b), X, CHANNELS, CHANNELS),
    "layer norm over images": (lambda x: F.layer_norm(x, (4, 2, 2)), IMAGES),
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), IMAGES, CHANNELS, CHANNELS),
    "batch norm in evaluation": (lambda x, w, b: F.batch_norm(x, MEAN, VAR, w, b), IMAGES, CHANNELS, CHANNELS),
    "batch norm without weights": (lambda x: F.batch_norm(x, MEAN, VAR, training=True), X),
    "instance norm": (F.instance_norm, IMAGES),
    "weight norm": (lambda v: torch._weight_norm(v, T.sum(1, keepdim=True)), X),
    "affine grid": (lambda x: F.affine_grid(x.sin().view(2, 2, 3), (2, 1, 3, 3), align_corners=False), (2, 6)),
}


@pytest.mark.parametrize("name", SECOND)
def test_second_derivatives(name):
    function, *shapes = SECOND[name]

    def gradients(*inputs):
        y = function(*inputs)
        return torch.autograd.grad((y * y.detach().sin() + y * y).sum(), inputs, create_graph=True)

    Comparison(gradients, tuple(numbers(*shape) for shape in shapes)).check()
