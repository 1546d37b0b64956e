"""Figures from event files: those that the run drew itself, whole, and one message where there is nothing to draw."""

import os
import struct
import subprocess
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.tensorboard import SummaryWriter

import gradlab
from gradlab import views
from gradlab.cli import main as run_experiment
from gradlab.figures import contour
from gradlab.figures.gallery import makers
from gradlab.records import Array, Scalar
from gradlab.sinks import MemorySink
from gradlab.sinks.tensorboard import TensorBoardSink


def write(folder, *records):
    sink = TensorBoardSink(folder)
    sink.write(records)
    sink.close()
    return folder


def losses(count=5):
    return [Scalar("loss/train", step, 2.0**-step) for step in range(count)]


def is_whole(path):
    """Whether a file begins and ends as a PNG does."""
    content = path.read_bytes()
    return content.startswith(b"\x89PNG\r\n\x1a\n") and content.endswith(b"IEND" + struct.pack(">I", 0xAE426082))


def drawn(capsys, *arguments, code=0):
    """The paths that the command prints."""
    assert views.main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out.splitlines()


def test_a_runs_own_figures_are_drawn_again(tmp_path, monkeypatch, quiet_lightning, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_experiment(["experiment=himmelblau", "loss=rosenbrock", "trainer.max_steps=7", "hydra.run.dir=run"]) == 0
    own = {path.name for path in (tmp_path / "run").glob("*.png")}
    for name in own:
        (tmp_path / "run" / name).unlink()
    capsys.readouterr()
    paths = drawn(capsys, "run")
    assert {os.path.basename(path) for path in paths} == own
    assert "run/contour.png" in paths
    assert {path.name for path in (tmp_path / "run").glob("*.png")} == own
    assert all(is_whole(tmp_path / path) for path in paths)

    memory = gradlab.load("run").memory()
    x, y, z, minimizers = (memory.arrays(f"surface/{name}")[1][0] for name in ("x", "y", "z", "minimizers"))
    np.testing.assert_allclose(z, (1 - x) ** 2 + 100 * (y[:, None] - x**2) ** 2)  # Rosenbrock (1960)
    assert minimizers.tolist() == [[1.0, 1.0]]
    steps, points = memory.arrays("path/point")
    assert steps.tolist() == list(range(8))
    assert points.shape == (8, 2)
    title = contour.figure(memory, "rosenbrock").axes[0].get_title(loc="left")
    assert title.startswith("rosenbrock: 7 steps")


def test_what_watch_wrote_is_drawn(tmp_path, capsys):
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x, y = torch.randn(8, 4), torch.randn(8, 1)
    beside = MemorySink()
    with gradlab.watch(model, optimizer, tmp_path / "run", sinks=[beside]) as lab:
        for _ in range(3):
            with lab.step():
                optimizer.zero_grad()
                nn.functional.mse_loss(model(x), y).backward()
                optimizer.step()
    capsys.readouterr()
    paths = drawn(capsys, tmp_path / "run")
    names = [os.path.basename(path).removesuffix(".png") for path in paths]
    assert names == [name for name, maker in makers("loss", None).items() if maker.ready(beside)]
    assert {"loss", "gradient_flow", "chain_rule", "agreement"} <= set(names)
    assert all(is_whole(tmp_path / path) for path in paths)


def test_files_go_where_out_says(tmp_path, capsys):
    write(tmp_path / "run", *losses())
    paths = drawn(capsys, tmp_path / "run", "--out", tmp_path / "new" / "place")
    assert paths == [str(tmp_path / "new" / "place" / "loss.png")]
    assert [path.name for path in (tmp_path / "new" / "place").iterdir()] == ["loss.png"]
    assert not list((tmp_path / "run").glob("*.png"))


def test_every_run_of_a_sweep_is_drawn(tmp_path, capsys):
    for name in ("lr=0.1", "deep/lr=0.2"):
        write(tmp_path / "sweep" / name, *losses())
    write(tmp_path / "sweep" / "other", Scalar("of/someone/else", 0, 1.0))
    paths = drawn(capsys, tmp_path / "sweep")
    assert paths == [str(tmp_path / "sweep" / name / "loss.png") for name in ("deep/lr=0.2", "lr=0.1")]
    paths = drawn(capsys, tmp_path / "sweep", "--out", tmp_path / "out")
    assert paths == [str(tmp_path / "out" / name / "loss.png") for name in ("deep/lr=0.2", "lr=0.1")]


def test_a_long_path_stays_one_line_in_a_pipe(tmp_path):
    folder = tmp_path / ("long name " * 20).strip() / ("x" * 200)
    write(folder, *losses())
    command = [sys.executable, "-m", "gradlab.views", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "COLUMNS": "40"})
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{folder / 'loss.png'}\n"


def refused(capsys, *arguments):
    """The message on stderr."""
    assert views.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "Traceback" not in err
    return err


def test_bad_input_is_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("in the way")
    write(tmp_path / "run", *losses())
    with SummaryWriter(str(tmp_path / "other")) as writer:
        writer.add_scalar("of/someone/else", 1.0, 0)
    for arguments, said in (
        ([tmp_path / "missing"], "there is no folder"),
        ([tmp_path / "file"], "is a file, and a run is a folder"),
        ([tmp_path / "empty"], "no event file"),
        ([tmp_path / "other"], "can be drawn: a figure needs records of gradlab"),
        ([tmp_path / "run", "--out", tmp_path / "file"], "file"),
        ([tmp_path / "run", "--out", tmp_path / "file" / "below"], "file"),
    ):
        message = refused(capsys, *arguments)
        assert message.startswith("gradlab: ")
        assert said in message
        assert message.count("\n") == 1


def test_wrong_arguments_are_refused_by_argparse(capsys):
    assert "required: RUN" in refused(capsys)
    assert "--colour" in refused(capsys, "run", "--colour")


def test_help_exits_with_0(capsys):
    assert views.main(["--help"]) == 0
    assert "--out FOLDER" in capsys.readouterr().out


def test_a_damaged_file_is_drawn_up_to_the_damage_with_one_line_about_it(tmp_path, capsys):
    write(tmp_path, *losses())
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert views.main([str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert out == f"{tmp_path / 'loss.png'}\n"
    assert err.startswith(f"gradlab: {path} is damaged")
    assert err.count("\n") == 1


def test_a_file_that_cannot_be_finished_leaves_the_old_one_whole(tmp_path, capsys, monkeypatch):
    write(tmp_path, *losses())
    (tmp_path / "loss.png").write_bytes(b"the old picture")

    def full(path, content):
        with open(path, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    assert "No space left" in refused(capsys, tmp_path)
    assert (tmp_path / "loss.png").read_bytes() == b"the old picture"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_path_in_more_dimensions_is_no_picture_and_no_error(tmp_path, capsys):
    write(tmp_path, *losses(), Array("path/point", 0, np.zeros(3)))
    assert [os.path.basename(path) for path in drawn(capsys, tmp_path)] == ["loss.png"]
