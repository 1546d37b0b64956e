"""What `gradlab.load` returns: the records of one run or of several."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from gradlab.loading.run import Run
from gradlab.loading.tables import (
    HistogramTable,
    Library,
    ScalarTable,
    TextTable,
    histogram_table,
    scalar_table,
    settings_table,
    text_table,
    to_frame,
)
from gradlab.sinks import MemorySink

Table = Literal["scalars", "histograms", "texts", "settings"]


class Records:
    """The records of one run, or of every run of a sweep, as tables and as a `MemorySink` for figures.

    Tables are plain dicts of columns of equal length, which ``pandas.DataFrame`` and ``polars.DataFrame`` take as
    they are. Rows stand run by run and tag by tag, each tag's in the order of their steps.

    Args:
        runs: the runs by name.

    Example:
        >>> import numpy as np
        >>> from gradlab.records import Scalar
        >>> mine = Run({(Scalar, "loss/train"): (np.arange(2), np.array([2.5, 1.5]))})
        >>> Records({"mine": mine})
        Records of 1 run: mine
    """

    def __init__(self, runs: Mapping[str, Run]) -> None:
        self._runs = dict(runs)

    def __repr__(self) -> str:
        return f"Records of {len(self._runs)} {'run' if len(self._runs) == 1 else 'runs'}: {', '.join(self._runs)}"

    @property
    def runs(self) -> list[str]:
        """The names of the runs, sorted.

        Example:
            >>> Records({"a": Run(), "b": Run()}).runs
            ['a', 'b']
        """
        return list(self._runs)

    def folder(self, run: str | None = None) -> Path:
        """Where a run lies.

        Args:
            run: its name; None where there is only one.

        Raises:
            ValueError: there is no such run, or there are several and none was named.

        Example:
            >>> Records({"mine": Run(folder=Path("runs/mine"))}).folder().name
            'mine'
        """
        return self._one(run).folder

    def scalars(self, prefix: str = "") -> ScalarTable:
        """Every scalar at every step that was recorded, one row each.

        Args:
            prefix: how the tag begins, such as ``gradient/``; the empty string finds all.

        Returns:
            ``run`` and ``tag`` (lists of str), ``step`` ([n] int64) and ``value`` ([n] float64). What was recorded in
            blocks keeps every bit; what was recorded one by one has gone through float32.

        Example:
            >>> import numpy as np
            >>> from gradlab.records import Scalar
            >>> mine = Run({(Scalar, "loss/train"): (np.arange(2), np.array([2.5, 1.5]))})
            >>> for name, column in Records({"mine": mine}).scalars("loss/").items():
            ...     print(name, *column)
            run mine mine
            tag loss/train loss/train
            step 0 1
            value 2.5 1.5
        """
        return scalar_table(self._runs, prefix)

    def histograms(self, prefix: str = "") -> HistogramTable:
        """Every histogram at every step that was recorded, one row a bar.

        Args:
            prefix: how the tag begins; the empty string finds all.

        Returns:
            ``run`` and ``tag`` (lists of str), ``step`` ([n] int64), ``left``, ``right`` and ``count`` ([n] float64).
            Where nothing was finite, so that there was nothing to count, the edges are NaN.

        Example:
            >>> import numpy as np
            >>> from gradlab.records import Histogram
            >>> bars = np.array([Histogram("gradient/w/histogram", 4, np.array([-1.0, 0.0, 0.5]), np.array([3, 9]))])
            >>> mine = Run({(Histogram, "gradient/w/histogram"): (np.array([4]), bars)})
            >>> table = Records({"mine": mine}).histograms()
            >>> table["left"].tolist(), table["right"].tolist(), table["count"].tolist()
            ([-1.0, 0.0], [0.0, 0.5], [3.0, 9.0])
        """
        return histogram_table(self._runs, prefix)

    def texts(self, prefix: str = "") -> TextTable:
        """Every text, one row each; breakdowns are among them as Markdown tables.

        Args:
            prefix: how the tag begins; the empty string finds all.

        Returns:
            ``run`` and ``tag`` (lists of str), ``step`` ([n] int64) and ``markdown`` (list of str).

        Example:
            >>> import numpy as np
            >>> from gradlab.records import Text
            >>> mine = Run({(Text, "notes"): (np.array([0]), np.array([Text("notes", 0, "a *short* note")]))})
            >>> Records({"mine": mine}).texts()["markdown"]
            ['a *short* note']
        """
        return text_table(self._runs, prefix)

    def settings(self) -> dict[str, list[Any]]:
        """What each run was set to and how it ended, one row a run.

        Returns:
            ``run``; a column for each setting under its name; one for each metric that a run ended with, such as
            ``metric/loss``; ``status`` and ``exit_code`` of its ``summary.json``. None stands where a run has no
            such thing.

        Example:
            >>> Records({"mine": Run(settings={"loss": "mse"}, metrics={"loss": 0.5})}).settings()
            {'run': ['mine'], 'loss': ['mse'], 'metric/loss': [0.5], 'status': [None], 'exit_code': [None]}
        """
        return settings_table(self._runs)

    def frame(self, table: Table = "scalars", prefix: str = "", library: Library | None = None) -> Any:
        """A table as a frame of pandas or polars.

        Args:
            table: ``scalars``, ``histograms``, ``texts`` or ``settings``.
            prefix: how the tag begins; settings have no tags.
            library: ``pandas`` or ``polars``; None takes pandas, or polars where pandas is not installed.

        Returns:
            A ``pandas.DataFrame`` or a ``polars.DataFrame`` with the columns of the table.

        Raises:
            ImportError: the library is not installed.
            ValueError: there is no such table or library, or settings were asked for with a prefix.

        Example:
            >>> Records({"mine": Run(settings={"lr": 0.5})}).frame("settings")["lr"].tolist()
            [0.5]
        """
        return to_frame(self._columns(table, prefix), library)

    def memory(self, run: str | None = None) -> MemorySink:
        """One run's records as figures take them: ``gradlab.figures.draw(records.memory())``.

        Args:
            run: its name; None where there is only one.

        Returns:
            A `MemorySink` with its scalars, histograms, arrays, texts, breakdowns and hparams. Pictures stay in the
            file.

        Raises:
            ValueError: there is no such run, or there are several and none was named.

        Example:
            >>> import numpy as np
            >>> from gradlab.records import Scalar
            >>> mine = Run({(Scalar, "loss/train"): (np.arange(2), np.array([2.5, 1.5]))})
            >>> Records({"mine": mine}).memory().scalars()
            {'loss/train': (array([0, 1]), array([2.5, 1.5]))}
        """
        return self._one(run).memory()

    def _one(self, name: str | None) -> Run:
        if name is None and len(self._runs) == 1:
            return next(iter(self._runs.values()))
        if name is None or name not in self._runs:
            what = f"{len(self._runs)} runs: say which one" if name is None else f"no run {name!r}"
            raise ValueError(f"there {'are' if name is None else 'is'} {what}; the runs: {', '.join(self._runs)}")
        return self._runs[name]

    def _columns(self, table: Table, prefix: str) -> Mapping[str, Any]:
        if table == "scalars":
            return self.scalars(prefix)
        if table == "histograms":
            return self.histograms(prefix)
        if table == "texts":
            return self.texts(prefix)
        if table != "settings":
            raise ValueError(f"there is no table {table!r}; the tables: {', '.join(get_args(Table))}")
        if prefix:
            raise ValueError(f"prefix={prefix!r}: settings have no tags; leave it out")
        return self.settings()
