"""`gradlab.watch` in loops as people write them. Expected numbers come from NumPy, in the same loop."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import torch
from torch import nn

import gradlab
from gradlab.records import Text
from gradlab.sinks import MemorySink

X = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
Y = torch.randn(24, 2, generator=torch.Generator().manual_seed(1))


def network():
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))


def loss_of(model):
    return nn.functional.mse_loss(model(X), Y)


def gradients(model):
    return {n: p.grad.detach().double().numpy().copy() for n, p in model.named_parameters() if p.grad is not None}


def norm(found):
    return np.sqrt(sum(np.sum(g**2) for g in found.values()))


@pytest.fixture
def watched(tmp_path):
    """A function that watches, with what comes out of it in memory."""
    opened = []

    def make(model, optimizer, **settings):
        memory = MemorySink()
        lab = gradlab.watch(model, optimizer, tmp_path, sinks=[memory], **settings)
        opened.append(lab)
        return lab, memory

    yield make
    for lab in opened:
        lab.close()


def test_a_plain_loop_with_clipping(watched):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lab, memory = watched(model, optimizer)
    seen, losses, ratios = [], [], []
    for _ in range(101):
        with lab.step():
            optimizer.zero_grad()
            loss = loss_of(model)
            loss.backward()
            seen.append(gradients(model))
            losses.append(loss.item())
            nn.utils.clip_grad_norm_(model.parameters(), 0.05)
            before = model[0].weight.detach().clone()
            optimizer.step()
            ratios.append(float((model[0].weight.detach() - before).norm() / before.norm()))
    lab.close()
    curves = memory.scalars()
    assert curves["loss/train"][1] == pytest.approx(losses, rel=1e-6)
    assert curves["gradient/0.weight/l2"][1] == pytest.approx([np.linalg.norm(g["0.weight"]) for g in seen], rel=1e-6)
    assert curves["total/norm_before_clipping"][1] == pytest.approx([norm(g) for g in seen], rel=1e-6)
    assert curves["total/norm_after_clipping"][1] == pytest.approx([0.05] * 101, rel=1e-4)
    assert curves["update/0.weight/ratio"][1] == pytest.approx(ratios, rel=1e-4)
    assert curves["agreement/0.weight/log10_error"][0].tolist() == [0, 100]
    assert (lab.lab.tally.backwards, lab.lab.tally.disagreements) == (2, 0)


@pytest.mark.parametrize("blocks", [1, 2], ids=["in one block", "in a block each"])
def test_an_accumulated_step(watched, blocks):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lab, memory = watched(model, optimizer)

    def half(part):
        (nn.functional.mse_loss(model(X[part::2]), Y[part::2]) / 2).backward()

    seen = []
    for _ in range(3):
        optimizer.zero_grad()
        if blocks == 2:
            with lab.step():
                half(0)
        with lab.step():
            if blocks == 1:
                half(0)
            half(1)
            seen.append(gradients(model))
            optimizer.step()
    lab.close()
    steps, found = memory.scalars()["gradient/2.weight/l2"]
    assert steps.tolist() == [0, 1, 2]
    assert found == pytest.approx([np.linalg.norm(g["2.weight"]) for g in seen], rel=1e-6)
    assert memory.scalars()["loss/train"][1][0] == pytest.approx(loss_of(network()).item(), rel=1e-6)


@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler(watched, fused):
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=512.0)
    lab, memory = watched(model, optimizer, scaler=scaler)
    seen = []
    for _ in range(3):
        with lab.step():
            optimizer.zero_grad()
            scaler.scale(loss_of(model)).backward()
            seen.append({n: g / scaler.get_scale() for n, g in gradients(model).items()})
            scaler.step(optimizer)
            scaler.update()
    with lab.step():
        optimizer.zero_grad()
        scaler.scale(loss_of(model) * float("inf")).backward()
        scaler.step(optimizer)
        scaler.update()
    lab.close()
    curves = memory.scalars()
    assert curves["gradient/0.weight/l2"][1][:3] == pytest.approx([np.linalg.norm(g["0.weight"]) for g in seen])
    assert curves["total/clip_coefficient"][1][:3] == pytest.approx([1.0] * 3)
    assert curves["gradient/0.weight/nonfinite"][1].tolist()[:3] == [0, 0, 0]
    assert curves["gradient/0.weight/nonfinite"][1][3] > 0  # the skipped step
    assert curves["update/0.weight/ratio"][1][3] == 0
    assert curves["loss/train"][1][0] == pytest.approx(loss_of(network()).item(), rel=1e-6)
    upstream = curves["chain/2/upstream"][1][0]
    out = network()(X).detach().requires_grad_()
    nn.functional.mse_loss(out, Y).backward()
    assert upstream == pytest.approx(out.grad.norm().item(), rel=1e-5)


def test_an_optimizer_that_calls_the_loss_itself(watched):
    model = network()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=5)
    lab, memory = watched(model, optimizer)
    first = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        first[-1] = first[-1] or gradients(model)
        return loss

    for _ in range(3):
        first.append(None)
        with lab.step():
            optimizer.step(closure)
    lab.close()
    steps, found = memory.scalars()["gradient/0.weight/l2"]
    assert steps.tolist() == [0, 1, 2]
    assert found == pytest.approx([np.linalg.norm(g["0.weight"]) for g in first], rel=1e-6)


def test_two_optimizers_in_one_step(watched):
    model = network()
    both = [torch.optim.SGD(model[0].parameters(), lr=0.1), torch.optim.SGD(model[2].parameters(), lr=0.2)]
    lab, memory = watched(model, both)
    for _ in range(3):
        with lab.step():
            for optimizer in both:
                model.zero_grad()
                loss_of(model).backward()
                optimizer.step()
    lab.close()
    curves = memory.scalars()
    assert curves["gradient/0.weight/l2"][0].tolist() == [0, 2, 4]
    assert curves["gradient/2.weight/l2"][0].tolist() == [1, 3, 5]
    assert curves["learning_rate/optimizer1/group0"][1] == pytest.approx([0.2] * 3)


def test_the_loop_is_the_same_to_the_last_bit(watched):
    results = []
    for is_watched in (True, False):
        model = nn.Sequential(network(), nn.Dropout(0.3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        lab = watched(model, optimizer)[0] if is_watched else None
        torch.manual_seed(5)
        for _ in range(11):
            optimizer.zero_grad()
            if lab is not None:
                with lab.step():
                    loss_of(model).backward()
                    optimizer.step()
            else:
                loss_of(model).backward()
                optimizer.step()
        results.append([p.detach().clone() for p in model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_an_operation_without_a_rule_is_a_warning_and_training_goes_on(watched):
    class Foreign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return torch.from_numpy(np.tanh(x.detach().numpy()))

        @staticmethod
        def backward(ctx, g):
            return g

    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lab, memory = watched(model, optimizer)

    def loop(steps):
        for _ in range(steps):
            with lab.step():
                optimizer.zero_grad()
                nn.functional.mse_loss(Foreign.apply(model(X)), Y).backward()
                optimizer.step()

    with pytest.warns(UserWarning, match=r"nothing is recorded and compared from step 0 on.*Foreign"):
        loop(1)
    loop(10)  # a second warning would be an error
    lab.close()
    assert memory.scalars()["gradient/0.weight/l2"][0].tolist() == list(range(11))
    assert "agreement/0.weight/log10_error" not in memory.tags()


def test_what_is_not_seen_is_said(watched):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lab, _ = watched(model, optimizer)
    with lab.step():
        torch.autograd.backward(loss_of(model))
        with pytest.warns(UserWarning, match="no backward pass was seen"):
            optimizer.step()


def test_an_exception_leaves_nothing_behind(watched):
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    lab, memory = watched(model, optimizer)

    def fails():
        with lab.step():
            loss_of(model)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()
    assert torch.utils._python_dispatch._len_torch_dispatch_stack() == 0
    assert torch._C._len_torch_function_stack() == 0
    with pytest.raises(RuntimeError, match="a step is open already"), lab.step(), lab.step():
        pass
    with lab.step():
        loss_of(model).backward()
        optimizer.step()
    lab.close()
    lab.close()
    assert not optimizer._optimizer_step_pre_hooks
    assert len(memory.records(Text, "coverage/")) == 1


def test_after_kill_9_all_but_the_last_interval_reads_back(tmp_path):
    script = f"""
        import time, torch, gradlab
        model = torch.nn.Linear(3, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        lab = gradlab.watch(model, optimizer, {str(tmp_path)!r}, flush_secs=0.3)
        for step in range(10**6):
            with lab.step():
                optimizer.zero_grad()
                model(torch.ones(2, 3)).mean().backward()
                optimizer.step()
            print(step, time.time(), flush=True)
            time.sleep(0.01)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True)
    lines = [process.stdout.readline().split() for _ in range(120)]
    os.kill(process.pid, signal.SIGKILL)
    killed = time.time()
    lines += [line.split() for line in process.stdout.read().splitlines() if len(line.split()) == 2]
    process.stdout.close()
    process.wait()
    due = max(int(step) for step, when in lines if float(when) < killed - 0.3 - 0.5)  # half a second for a busy machine
    columns = gradlab.load(tmp_path).scalars("gradient/weight/l2")
    assert list(columns["step"][:5]) == [0, 1, 2, 3, 4]
    assert max(columns["step"]) >= due > 0
