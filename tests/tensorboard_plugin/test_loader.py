"""An error in gradlab leaves TensorBoard running: without the tab, and with a word in its log."""

import logging
import subprocess
import sys
from argparse import Namespace

import pytest
from tensorboard.plugins import base_plugin

from gradlab.tensorboard_plugin.loader import GradlabLoader


@pytest.mark.parametrize("module", ["gradlab", "gradlab.tensorboard_plugin.loader"])
def test_its_import_brings_no_torch(module):
    """TensorBoard imports the loader at every start, whether anybody looks at the tab or not."""
    heavy = "torch lightning matplotlib hydra sympy"
    code = f"import sys, {module}; sys.exit(' '.join(m for m in '{heavy}'.split() if m in sys.modules) or 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("broken", ["gradlab.tensorboard_plugin.plugin", "gradlab.tensorboard_plugin.data", "werkzeug"])
def test_a_broken_import_costs_the_tab_alone(monkeypatch, caplog, broken):
    monkeypatch.delitem(sys.modules, "gradlab.tensorboard_plugin.plugin", raising=False)
    monkeypatch.delitem(sys.modules, "gradlab.tensorboard_plugin.data", raising=False)
    monkeypatch.setitem(sys.modules, broken, None)  # what makes an import fail
    with caplog.at_level(logging.WARNING, "tensorboard"):
        assert GradlabLoader().load(base_plugin.TBContext()) is None
    (record,) = caplog.records
    assert "no Gradlab tab" in record.getMessage()
    assert broken in record.getMessage()


def test_every_step_is_kept_unless_the_user_says_otherwise():
    flags = Namespace(samples_per_plugin={"images": 5})
    GradlabLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"images": 5, "gradlab": 0}
    flags = Namespace(samples_per_plugin={"gradlab": 7})
    GradlabLoader().fix_flags(flags)
    assert flags.samples_per_plugin == {"gradlab": 7}


def test_flags_of_another_tensorboard_are_left_alone():
    GradlabLoader().fix_flags(Namespace())
