"""A Lightning trainer for tests: on the CPU, silent, and writing nothing of its own."""

import lightning.pytorch as pl

OFF = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)


def quiet_trainer(folder, steps, callbacks=(), **settings):
    return pl.Trainer(
        **{**OFF, **settings},
        callbacks=list(callbacks),
        max_steps=steps,
        accelerator="cpu",
        default_root_dir=str(folder),
    )
