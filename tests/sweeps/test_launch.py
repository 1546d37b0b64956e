"""What is printed when: Ray brings the lines of its jobs to the terminal later than their results."""

import threading
from dataclasses import dataclass, field

from omegaconf import OmegaConf

from gradlab.sweeps import launch


@dataclass
class RayLauncher:
    """Prints a little later than it returns, as Ray does."""

    threads: list = field(default_factory=list)

    def launch(self, job_overrides, initial_job_idx):
        self.threads.append(threading.Timer(0.1, print, [f"{len(job_overrides)} jobs have ended"]))
        self.threads[-1].start()


def test_rays_lines_stand_before_ours(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(launch, "connect", lambda init: None)
    launcher = RayLauncher()
    hydra = {"sweep": {"dir": str(tmp_path)}, "sweeper": {"params": {}}, "overrides": {"task": ["seed=1,2"]}}
    config = OmegaConf.create({"hydra": {**hydra, "launcher": {"ray": {"init": {}}}}})
    jobs = launch.launch(launcher, config, [["seed=1"], ["seed=2"]], 0)
    print("the table")
    launcher.threads[0].join()
    assert len(jobs) == 2
    assert capsys.readouterr().out.splitlines() == ["2 jobs have ended", "the table"]
