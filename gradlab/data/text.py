"""A text as data: windows of characters, each with the characters that follow."""

from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from gradlab.data.batches import Batches
from gradlab.data.table import TRAIN_SHARE, checked_batch_size, checked_seed, seeded

ESSAY = Path(__file__).with_name("downhill.txt")


class Characters(LightningDataModule):
    """A text character by character: from the ones before, a model is to predict the next.

    A character is a number, its place among the sorted characters of the text. A row x is a window of
    ``context`` neighbouring numbers, and y is the window one place further on: y[t] is what follows x[t].

    The first 80 % of the text are for training, the rest for testing. It is cut once and not window by window,
    since neighbouring windows share all characters but one. A train window starts at every place; test windows
    stand side by side, so that each character is asked for once.

    Args:
        batch_size: windows of a training batch, from 1 to the windows of the train split.
        seed: of the order of every epoch; the split needs no chance.
        context: characters of a window.
        vocabulary: the number of different characters; it stands in the configuration because models read it
            there, and is checked.
        path: a text file in UTF-8; ``None`` for a short essay on going downhill, which is part of this package.

    Attributes:
        text: the whole text.
        alphabet: its characters, sorted, each once.
        context: as above.
        vocabulary, classes: the length of the alphabet.
        x_train, x_test: windows, int64, shape [N, context].
        y_train, y_test: the same one place further on, int64, shape [N, context].

    Raises:
        ValueError: a number out of range, a vocabulary that is not the text's, or a file that cannot be read.

    Example:
        >>> data = Characters(context=5)
        >>> data.setup()
        >>> data.decode(data.x_train[0]), data.decode(data.y_train[0])
        ('The W', 'he Wa')
    """

    option = "characters"

    def __init__(
        self,
        batch_size: int = 32,
        seed: int = 0,
        context: int = 32,
        vocabulary: int | None = None,
        path: str | Path | None = None,
    ) -> None:
        super().__init__()
        self.batch_size = checked_batch_size(batch_size)
        self.seed = checked_seed(seed)
        self.text = read_text(ESSAY if path is None else Path(path))
        self.alphabet = "".join(sorted(set(self.text)))
        self.vocabulary = self.classes = checked_vocabulary(vocabulary, self.alphabet)
        self._cut = int(TRAIN_SHARE * len(self.text))
        # The test part is the shorter one, and its last character has none after it.
        self.context = checked_context(context, most=len(self.text) - self._cut - 1)
        self._ready = False

    def encode(self, text: str) -> Tensor:
        """The numbers of the characters of ``text``, int64, shape [len(text)].

        Raises:
            ValueError: a character is not in the alphabet.

        Example:
            >>> Characters().encode("abba").tolist()
            [22, 23, 23, 22]
        """
        places = {character: place for place, character in enumerate(self.alphabet)}
        unknown = sorted(set(text) - set(places))
        if unknown:
            raise ValueError(f"the text has no {unknown[0]!r}: its characters are {self.alphabet!r}")
        return torch.tensor([places[character] for character in text], dtype=torch.int64)

    def decode(self, numbers: Tensor) -> str:
        """The text of the numbers, integers, shape [T]; the inverse of ``encode``.

        Raises:
            ValueError: the shape is another, or a number stands for no character.

        Example:
            >>> data = Characters()
            >>> data.decode(data.encode("gradient"))
            'gradient'
        """
        if numbers.ndim != 1 or numbers.is_floating_point():
            raise ValueError(f"decode takes whole numbers in one row [T], got shape {list(numbers.shape)}")
        places = numbers.tolist()
        strangers = [place for place in places if not 0 <= place < self.vocabulary]
        if strangers:
            raise ValueError(f"the characters have the numbers 0 to {self.vocabulary - 1}, got {strangers[0]}")
        return "".join(self.alphabet[place] for place in places)

    def setup(self, stage: str | None = None) -> None:
        """Number the characters, cut the text in two, and both parts into windows, once."""
        if self._ready:
            return
        numbers = self.encode(self.text)
        train, test = numbers[: self._cut], numbers[self._cut :]
        self.x_train, self.y_train = windows(train, self.context, stride=1)
        self.x_test, self.y_test = windows(test, self.context, stride=self.context)
        checked_batch_size(self.batch_size, rows=len(self.x_train))
        self._ready = True

    def train_dataloader(self) -> Batches:
        """Batches of the train windows, in a new order every epoch; each loader starts from the same seed."""
        return Batches(self.x_train, self.y_train, self.batch_size, seeded(self.seed))

    def test_dataloader(self) -> Batches:
        """The test windows as one batch."""
        return Batches(self.x_test, self.y_test, batch_size=len(self.x_test))


def windows(numbers: Tensor, context: int, stride: int) -> tuple[Tensor, Tensor]:
    """Every ``stride``-th window of ``context`` neighbours, and the same one place further on.

    Args:
        numbers: shape [T], with T > ``context``.
        context: entries of a window.
        stride: places from the start of one window to the start of the next.

    Returns:
        x and y, shape [N, context]. They are views: a text of T characters is not copied ``context`` times.

    Example:
        >>> x, y = windows(torch.arange(5), context=3, stride=1)
        >>> x.tolist(), y.tolist()
        ([[0, 1, 2], [1, 2, 3]], [[1, 2, 3], [2, 3, 4]])
    """
    return numbers[:-1].unfold(0, context, stride), numbers[1:].unfold(0, context, stride)


def read_text(path: Path) -> str:
    """The contents of a file in UTF-8; an error that names the file where that cannot be."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ValueError(f"data.path={path} is no text file in UTF-8 that can be read ({error})") from None


def checked_vocabulary(stated: Any, alphabet: str) -> int:
    """The length of the alphabet; an error where something else was stated."""
    if stated is not None and stated != len(alphabet):
        raise ValueError(
            f"data.vocabulary is {stated}, and the text has {len(alphabet)} different characters: set "
            f"data.vocabulary={len(alphabet)}"
        )
    return len(alphabet)


def checked_context(context: Any, most: int) -> int:
    """``context`` itself where it is a whole number from 1 to ``most``; an error otherwise."""
    if most < 1:
        raise ValueError("the text (data.path) is too short to be split: it needs at least six characters")
    if not isinstance(context, int) or isinstance(context, bool) or not 1 <= context <= most:
        raise ValueError(f"data.context must be a whole number from 1 to {most} for this text, got {context!r}")
    return context
