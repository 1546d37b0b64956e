"""Records into TensorBoard: one event file a run, written without a thread and without torch."""

from gradlab.sinks.tensorboard.sink import TensorBoardSink

__all__ = ["TensorBoardSink"]
