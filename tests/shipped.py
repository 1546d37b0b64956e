"""The configs as they are shipped, for tests that check them one by one."""

from omegaconf import DictConfig, OmegaConf

from gradlab.build import config_folder


def load(group: str, option: str) -> DictConfig:
    config = OmegaConf.load(config_folder() / group / f"{option}.yaml")
    assert isinstance(config, DictConfig)
    return config
