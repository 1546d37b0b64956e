"""A text as data: its windows, its two parts, and its characters as numbers."""

import pytest
import torch

from gradlab.data import Characters
from gradlab.data.text import ESSAY


def ready(**arguments):
    data = Characters(**arguments)
    data.setup()
    return data


@pytest.fixture
def counting(tmp_path):
    """A text whose 20 characters are its alphabet in order, so that each one's number is its place."""
    path = tmp_path / "counting.txt"
    path.write_text("abcdefghijklmnopqrst", encoding="utf-8")
    return path


def test_windows_by_hand(counting):
    data = ready(path=counting, context=3, batch_size=2)
    # 80 % of 20 are 16 characters, a to p: windows start at each of 0 to 12, and the last one is followed by p.
    assert data.x_train.tolist() == [[i, i + 1, i + 2] for i in range(13)]
    assert data.y_train.tolist() == [[i + 1, i + 2, i + 3] for i in range(13)]
    # q to t, 16 to 19: one window fits, and t is what follows it.
    assert data.x_test.tolist() == [[16, 17, 18]]
    assert data.y_test.tolist() == [[17, 18, 19]]


def test_test_windows_stand_side_by_side(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("".join(chr(0x100 + i) for i in range(100)), encoding="utf-8")
    data = ready(path=path, context=6)
    assert data.x_test.flatten().tolist() == list(range(80, 98))  # 3 windows: a fourth would end beyond the text
    assert data.y_test.flatten().tolist() == list(range(81, 99))


def test_types_shapes_and_what_a_target_is():
    data = ready(context=32)
    text = ESSAY.read_text(encoding="utf-8")
    train = text[: len(text) * 4 // 5]
    for x, y in ((data.x_train, data.y_train), (data.x_test, data.y_test)):
        assert (x.dtype, y.dtype) == (torch.int64, torch.int64)
        assert x.shape == y.shape
        assert x[:, 1:].equal(y[:, :-1])
    assert data.x_train.shape == (len(train) - 32, 32)
    assert data.decode(data.x_train[100]) == text[100:132]
    assert data.decode(data.y_train[100]) == text[101:133]
    assert data.decode(data.x_test[1]) == text[len(train) + 32 : len(train) + 64]
    assert data.classes == data.vocabulary == len(set(text))


def test_no_test_character_is_trained_on(counting):
    data = ready(path=counting, context=3, batch_size=2)
    assert not set(data.x_train.flatten().tolist()) & set(data.x_test.flatten().tolist())
    assert not set(data.y_train.flatten().tolist()) & set(data.y_test.flatten().tolist())


def test_the_essay_is_plain_prose():
    data = Characters()
    assert 6_000 < len(data.text) < 10_000
    assert data.text.isascii()
    assert set(data.text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:?\n")
    for subject in ("derivative", "partial derivative", "gradient", "chain rule", "backpropagation"):
        assert subject in data.text
    # So that no test character is one that was never trained on.
    assert set(data.text[: len(data.text) * 4 // 5]) == set(data.text)


def test_encode_and_decode_are_inverse(counting):
    data = Characters(path=counting, context=1)
    assert data.alphabet == "abcdefghijklmnopqrst"
    assert data.encode("cab").tolist() == [2, 0, 1]
    assert data.encode("cab").dtype == torch.int64
    assert data.encode("").shape == (0,)
    essay = Characters()
    assert essay.decode(essay.encode(essay.text)) == essay.text


def test_encode_names_what_it_does_not_know(counting):
    data = Characters(path=counting, context=1)
    with pytest.raises(ValueError, match=r"the text has no 'ü': its characters are 'abcdefghijklmnopqrst'"):
        data.encode("müde")


@pytest.mark.parametrize("number", [-1, 20])
def test_decode_knows_the_alphabet_alone(counting, number):
    with pytest.raises(ValueError, match=rf"have the numbers 0 to 19, got {number}"):
        Characters(path=counting, context=1).decode(torch.tensor([0, number]))


@pytest.mark.parametrize("numbers", [torch.zeros(2, 3, dtype=torch.int64), torch.tensor(1), torch.zeros(3)])
def test_decode_takes_one_row(numbers):
    with pytest.raises(ValueError, match=r"decode takes whole numbers in one row \[T\], got "):
        Characters().decode(numbers)


def test_chance_is_the_seeds_alone_and_only_in_the_order():
    before = torch.random.get_rng_state()
    first, again, other = ready(seed=3), ready(seed=3), ready(seed=4)
    batches = [[x.tolist() for x, _ in data.train_dataloader()] for data in (first, again, other)]
    assert batches[0] == batches[1]
    assert batches[0] != batches[2]
    assert sorted(sum(batches[0], [])) == sorted(first.x_train.tolist())
    assert first.x_train.equal(other.x_train)
    assert first.x_test.equal(other.x_test)
    assert torch.random.get_rng_state().equal(before)


def test_a_batch_has_targets_in_step_and_the_test_split_is_one_batch():
    data = ready(batch_size=7)
    x, y = next(iter(data.train_dataloader()))
    assert (x.shape, y.shape) == ((7, 32), (7, 32))
    assert x[:, 1:].equal(y[:, :-1])
    ((x, y),) = data.test_dataloader()
    assert x.equal(data.x_test)
    assert y.equal(data.y_test)


def test_setup_happens_once():
    data = ready()
    x = data.x_train
    data.setup("test")
    assert data.x_train is x


def test_a_stated_vocabulary_is_the_texts(counting):
    assert Characters(path=counting, context=1, vocabulary=20).vocabulary == 20
    message = r"data.vocabulary is 48, and the text has 20 different characters: set data.vocabulary=20"
    with pytest.raises(ValueError, match=message):
        Characters(path=counting, context=1, vocabulary=48)


@pytest.mark.parametrize("context", [0, -1, 4, 2.0, None, "3", True])
def test_a_context_fits_into_the_test_part(counting, context):
    with pytest.raises(ValueError, match=r"data.context must be a whole number from 1 to 3 for this text, got"):
        Characters(path=counting, context=context)


@pytest.mark.parametrize("text", ["", "abcde"])
def test_a_text_has_some_length(tmp_path, text):
    (tmp_path / "short.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"too short to be split: it needs at least six characters"):
        Characters(path=tmp_path / "short.txt", context=1)
    (tmp_path / "short.txt").write_text("abcdef", encoding="utf-8")
    assert ready(path=tmp_path / "short.txt", context=1, batch_size=1).y_test.tolist() == [[5]]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"data.path=.*none\.txt is no text file in UTF-8 that can be read"):
        Characters(path=str(tmp_path / "none.txt"))
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"data.path=.*bytes\.txt is no text file in UTF-8"):
        Characters(path=str(tmp_path / "bytes.txt"))


def test_batch_size_and_seed_are_checked(counting):
    with pytest.raises(ValueError, match=r"data.batch_size must be a whole number from 1 on, got -1"):
        Characters(batch_size=-1)
    with pytest.raises(ValueError, match=r"whole number from 1 to 13, the rows of the train split, got 14"):
        ready(path=counting, context=3, batch_size=14)
    with pytest.raises(ValueError, match=r"seed must be a whole number"):
        Characters(seed=-1)
