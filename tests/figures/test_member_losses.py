"""The loss of a population in a picture: every member, and the median in the place of the sum."""

import numpy as np

from gradlab.figures import loss, style
from gradlab.records import Scalar, ScalarBlock
from gradlab.sinks import MemorySink

STEPS = np.arange(4)
MEMBERS = np.array([[4.0, 2.0, 1.0, 0.5], [8.0, 8.0, 8.0, 8.0], [6.0, 3.0, 2.0, 1.0]])


def filled(members):
    memory = MemorySink()
    memory.write(
        Scalar("loss/train", int(step), float(total)) for step, total in zip(STEPS, MEMBERS.sum(0), strict=True)
    )
    tags = ("loss/median", *(f"loss/member/{i}" for i in range(len(members))))
    memory.write([ScalarBlock(tags, STEPS, np.vstack([np.median(MEMBERS, axis=0), members]).T)])
    return memory


def curves(memory):
    _, (axes,) = style.canvas(6, 4)
    loss.draw(axes, memory)
    return axes, [line.get_ydata().tolist() for line in axes.lines if len(line.get_xdata()) == len(STEPS)]


def test_members_and_their_median_are_drawn():
    axes, drawn = curves(filled(MEMBERS))
    assert drawn == [*MEMBERS.tolist(), [6.0, 3.0, 2.0, 1.0]]
    assert {text.get_text() for text in axes.texts} >= {"6", "1"}


def test_of_many_the_median_stands_alone():
    _, drawn = curves(filled(MEMBERS[:0]))
    assert drawn == [[6.0, 3.0, 2.0, 1.0]]


def test_a_loss_too_small_for_an_axis_counts_as_nothing():
    memory = MemorySink()
    memory.write(Scalar("loss/train", step, value) for step, value in enumerate([1.0, 1e-100, 1e-300, 5e-324]))
    axes, drawn = curves(memory)
    axes.figure.canvas.draw()  # a warning would be an error
    assert (drawn, axes.get_yscale()) == ([[1.0, 1e-100, 0.0, 0.0]], "linear")


def test_the_axis_is_logarithmic_where_the_median_is_positive():
    assert curves(filled(MEMBERS))[0].get_yscale() == "log"
