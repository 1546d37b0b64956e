"""What a report says to somebody who has never seen one: in a terminal, in a notebook, to a program."""

import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from planted import function, numbers
from torch import nn
from torch.autograd import Function

import gradlab
from gradlab import Tape
from gradlab.checking import Report
from gradlab.checking.findings import Finding
from gradlab.checking.names import function_behind, name_of

HERE = Path(__file__).name
SOURCE = Path(__file__).read_text(encoding="utf-8").splitlines()
OWN_FILES = {path.name for path in Path(gradlab.__file__).parent.rglob("*.py")}


def check(target, *inputs, **options):
    """The first derivative alone."""
    return gradlab.check(target, *inputs, **{"second_order": False, "conditions": False, "seconds": 2.0} | options)


def words(report):
    """The report's text with any white space as one space: where a line ends is no matter."""
    return " ".join(str(report).split())


class WrongTanh(Function):
    @staticmethod
    def forward(ctx, x):
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        return 1.5 * g * (1 - ctx.saved_tensors[0] ** 2)


class Half(Function):
    """a·b, and of b's gradient nothing."""

    @staticmethod
    def forward(ctx, a, b):
        ctx.save_for_backward(b)
        return a * b

    @staticmethod
    def backward(ctx, g):
        return g * ctx.saved_tensors[0], None


class Wrong(nn.Module):
    def forward(self, x):
        return WrongTanh.apply(x)


@pytest.fixture(scope="module")
def network():
    """Three tensors below one wrong operation, two above it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), Wrong(), nn.Linear(4, 2)).double()
    return check(model, numbers(2, 3))


# --- words are explained, once --------------------------------------------------------------------------------

_calls = itertools.count(1)
VERDICTS = {
    "agree": (torch.sin, [numbers(2)]),
    "wrong": (WrongTanh, [numbers(2)]),
    "kink": (lambda x, y: x.relu() + y.relu(), [torch.zeros(2).double(), torch.zeros(2).double()]),
    "not reached": (lambda x, y: x.sin(), [numbers(2), numbers(2)]),
    "precision": (lambda x: (x * 300).square().sum().sqrt(), [torch.ones(4, dtype=torch.float16)]),
    "nondeterministic": (lambda x: x * next(_calls), [numbers(2)]),
    "not differentiable": (lambda x: torch.ops.aten.igamma(x.abs() + 1, x.abs() + 1), [numbers(2)]),
}


@pytest.mark.parametrize("verdict", VERDICTS)
def test_each_verdict_that_occurs_is_explained_once(verdict):
    target, inputs = VERDICTS[verdict]
    report = check(target, *inputs)
    occurring = {finding.verdict for finding in report.findings}
    assert verdict in occurring
    explained = [line.partition(":")[0] for line in report.glossary]
    assert [name for name in explained if name in VERDICTS] == [name for name in explained if name in occurring]
    assert {name for name in explained if name in VERDICTS} == occurring
    for line in report.glossary:
        assert words(report).count(line) == 1


@pytest.mark.parametrize(("verdict", "to_do"), [("kink", "Nothing to do"), ("wrong", "Mend it"), ("agree", "Nothing")])
def test_the_explanation_says_whether_there_is_something_to_do(verdict, to_do):
    target, inputs = VERDICTS[verdict]
    (line,) = [line for line in check(target, *inputs).glossary if line.startswith(verdict)]
    assert to_do in line


def test_the_scalar_is_explained_where_numbers_depend_on_it():
    assert words(check(WrongTanh, numbers(2))).count("L: the scalar that is differentiated: the loss, or") == 1
    assert "L:" not in str(check(torch.sin, numbers(2)))


def test_the_witnesses_that_took_part_are_explained():
    (line,) = [line for line in check(torch.sin, numbers(2)).glossary if line.startswith("witnesses")]
    assert "numeric moves an entry" in line
    assert "symbolic" not in line


# --- one cause is told once -----------------------------------------------------------------------------------


def test_tensors_below_one_wrong_operation_are_one_group(network):
    (group,) = network.groups
    assert [f.name for f in (group.first, *group.others)] == ["input", "0.weight", "0.bias"]
    text = str(network)
    assert text.count("to blame:") == text.count("hint:") == text.count("stands alone") == 1
    assert "possibly the same cause, 2 more:" in text
    for finding in network.failures:  # the place of each, in the table and below it
        assert text.count(finding.label_of_place) == 2
        assert f"{finding.numbers['autograd']:.10g}" in text
    with pytest.raises(gradlab.GradientError) as caught:
        network.raise_for_failure()
    assert str(caught.value).count("to blame:") == 1
    assert "0.bias[" in str(caught.value)


def test_a_note_on_what_agrees_is_told_without_numbers():
    report = check(nn.Embedding(5, 3, padding_idx=1).double(), torch.tensor([1, 2, 1]))
    assert report.ok
    assert "parameter weight: agree\n  note: embedding gives its padding_idx no gradient\n" in str(report)


def test_two_wrong_operations_are_two_groups():
    other = function(torch.sin, lambda g, x: 2 * g * x.cos())
    report = check(lambda x, y: (WrongTanh.apply(x), other.apply(y)), numbers(2), numbers(2))
    assert not report.ok
    blamed = {finding.blame for finding in report.failures}
    assert len(report.groups) == len(blamed)


def test_findings_that_share_nothing_stay_apart():
    alone = [Finding(name, "input", (1,), "float64", "wrong") for name in "ab"]
    assert [group.others for group in Report("f", tuple(alone)).groups] == [(), ()]


def test_kinks_are_one_group_with_the_slopes_of_each():
    target, inputs = VERDICTS["kink"]
    report = check(target, *inputs, loss=torch.sum)
    assert len(report.groups) == 1
    assert "also kink, 1 more:" in str(report)
    assert words(report).count("the slope is 0 on the left and 1 on the right") == 1


# --- who stands alone -----------------------------------------------------------------------------------------

SEES_MORE = "<- sees a dependence that autograd does not"
LEAVES = {
    ".item()": lambda x: x * x.sum().item(),
    ".tolist()": lambda x: torch.tensor(x.tolist(), dtype=x.dtype) * 2 + 0 * x,
    ".data": lambda x: x.data * x,
    "torch.tensor": lambda x: x * torch.tensor(float(x.detach().sum()), dtype=x.dtype),
    "numpy": lambda x: x * torch.from_numpy(np.sin(x.tolist())),
}


@pytest.mark.parametrize("how", LEAVES)
def test_numeric_is_not_accused_where_a_value_left_pytorch(how):
    report = check(LEAVES[how], numbers(3))
    (line,) = [line for line in str(report).splitlines() if line.startswith("  numeric")]
    assert line.endswith(SEES_MORE)
    assert "stands alone" not in str(report)
    hint = report["x"].hint
    assert ("possibly" in hint and ".item()" in hint and ".numpy()" in hint) or "cut at detach" in hint
    assert hint == json.loads(report.to_json())["findings"][0]["hint"]


def test_autograd_stands_alone_where_it_does(network):
    (line,) = [line for line in str(network).splitlines() if line.startswith("  autograd")]
    assert line.endswith("<- stands alone")


def test_a_wrong_operation_gets_no_hint_about_values_that_leave(network):
    assert all(".item()" not in finding.hint for finding in network.findings)


def test_guesses_are_called_possible():
    mean = function(lambda x, w: x @ w, lambda g, x, w: (g @ w.t(), x.t() @ g / 5))
    report = check(mean, numbers(5, 4), numbers(4, 2))
    assert "in every entry: possibly a mean over the batch of 5" in report["argument 1"].hint


# --- places in the source -------------------------------------------------------------------------------------


def files_named(text):
    return set(re.findall(r"(\w+\.py):\d+", text))


def line_of(place):
    file, _, number = place.partition(":")
    assert file == HERE
    return SOURCE[int(number) - 1]


def test_called_at_is_the_users_line(network):
    (called,) = re.findall(r"called at (\S+),", network.failures[0].blame)
    assert ".apply(" in line_of(called)


@pytest.mark.parametrize("target", [torch.detach, nn.Sequential(nn.Linear(3, 2), nn.ReLU()).double().requires_grad_()])
def test_gradlabs_own_files_are_no_places_in_the_users_source(target):
    text = str(gradlab.check(target, numbers(2, 3), seconds=1.0))
    assert not files_named(text) & OWN_FILES


def test_a_line_without_anything_of_the_users_below_it_is_the_call():
    layers = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    with Tape(lines=True) as tape:
        layers(torch.ones(1, 3))  # the line
    assert {line_of(entry.line).strip() for entry in tape.entries} == {"layers(torch.ones(1, 3))  # the line"}


def test_a_model_that_comes_with_gradlab_is_read_like_the_users():
    from gradlab.models import Logistic

    model, x = Logistic(2), torch.ones(1, 2)
    with Tape(lines=True) as tape:
        model(x)
    assert {entry.line.partition(":")[0] for entry in tape.entries} == {"networks.py"}


# --- names ----------------------------------------------------------------------------------------------------


def test_an_argument_called_input_is_not_called_so_twice(network):
    assert "input input" not in str(network)
    assert network.rows()[0][1][0].startswith("input[")
    assert Finding("x", "input", (), "", "agree").label == "input x"
    assert Finding("inputs", "input", (), "", "agree").label == "input inputs"
    assert Finding("upstream gradient 0", "output", (), "", "agree").label == "upstream gradient 0"


def test_a_lambda_is_named_by_its_place():
    target = lambda x: x  # noqa: E731 (the line)
    name = name_of(target)
    assert name.startswith("the lambda at ")
    assert "(the line)" in line_of(name.removeprefix("the lambda at "))


def test_names_of_targets():
    assert name_of(nn.Linear(2, 2).forward) == "Linear.forward"
    assert name_of(torch.nn.functional.relu) == "relu"
    assert function_behind(WrongTanh.apply) is WrongTanh
    assert function_behind(WrongTanh) is WrongTanh


def test_a_backward_that_returned_none_is_told_from_a_tensor_that_is_not_reached():
    assert "None (not reached): backward returned None" in str(check(Half, numbers(2), numbers(2)))
    lost = str(check(lambda x: torch.tensor(x.tolist(), dtype=x.dtype), numbers(2)))
    assert "None (not reached)" in lost
    assert "returned None" not in lost


# --- numbers --------------------------------------------------------------------------------------------------


def test_numbers_that_are_not_repeatable_show_where_they_differ():
    near = {"L": 1.0, "L again": 1.0 + 2**-50}  # 8.9e-16 apart: 15 digits show one number
    report = Report("f", (Finding("x", "input", (2,), "float64", "nondeterministic", numbers=near),))
    shown = re.findall(r"^  L(?: again)? +(\S+)$", str(report), re.MULTILINE)
    assert [float(number) for number in shown] == pytest.approx(list(near.values()), rel=1e-16)
    assert shown[0] != shown[1]
    assert "they differ by 8.9e-16" in str(report)
    assert report.headline == "gradlab.check(f): NONDETERMINISTIC for x"


def test_nothing_is_said_to_be_zero_that_was_not_measured():
    broken = check(function(lambda x: x.sum(0), lambda g, x: g), numbers(5, 3))
    assert broken.rows()[0][1][3] == ""


# --- the headline ---------------------------------------------------------------------------------------------


def test_a_whole_check_is_plainly_ok():
    assert check(torch.sin, numbers(4)).headline == "gradlab.check(sin): ok (1 agree)"


def test_a_check_of_some_entries_says_so_first():
    report = check(torch.sin, numbers(3000), seconds=0.0)
    assert report.ok
    assert report.headline == (
        f"gradlab.check(sin): ok as far as looked at (1 agree; numeric compared {report.counts['numeric']} of 3,000 "
        "entries)"
    )
    assert 0 < report.counts["numeric"] < 3000


def test_entries_that_no_witness_could_look_at_are_in_the_headline():
    """What is moved along the imaginary axis has to be analytic, and |x| is not."""
    headline = check(torch.abs, numbers(4), witnesses=["complex_step"]).headline
    assert headline == "gradlab.check(abs): ok as far as looked at (1 agree; no witness compared 4 of 4 entries)"


def test_a_part_that_was_left_out_is_in_the_headline():
    finding = Finding("x", "input", (2,), "float64", "agree", entries=2, compared={"numeric": 2})
    report = Report("f", (finding,), ("not looked at: second derivatives (a backward pass takes 3 s)",))
    assert report.headline == "gradlab.check(f): ok as far as looked at (1 agree; not looked at: second derivatives)"


def test_many_names_are_counted():
    findings = [Finding(f"p{n}", "parameter", (1,), "float64", "wrong") for n in range(20)]
    assert Report("f", tuple(findings)).headline.endswith("WRONG for p0, p1, p2, p3, p4, p5, p6, p7 and 12 more")


# --- JSON -----------------------------------------------------------------------------------------------------

KEYS = ["target", "ok", "counts", "findings", "notes", "seconds"]
FINDING_KEYS = [
    "name",
    "kind",
    "shape",
    "dtype",
    "verdict",
    "condition",
    "error",
    "tolerance",
    "index",
    "numbers",
    "errors",
    "entries",
    "off",
    "compared",
    "alone",
    "blame",
    "hint",
    "note",
]  # fmt: skip


def strict(text):
    """Reads JSON as it is defined, where Python would let NaN and Infinity pass."""

    def refuse(token):
        raise AssertionError(f"{token} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.mark.parametrize(
    ("target", "x"),
    [
        (WrongTanh, numbers(2)),
        (function(torch.sin, lambda g, x: g / 0), numbers(2)),
        (lambda x: torch.where(x > 0, x.sqrt(), 0 * x), torch.tensor([-1.0, 2.0])),  # 0 · ∞ in the gradient
        (torch.sqrt, torch.zeros(2).double()),
        (lambda z: z * z.real.sum().item(), numbers(2, dtype=torch.complex128)),
    ],
)
def test_json_is_strict_and_its_keys_are_stable(target, x):
    content = strict(check(target, x).to_json())
    assert list(content) == KEYS
    assert [list(finding) for finding in content["findings"]] == [FINDING_KEYS] * len(content["findings"])


def test_numbers_that_json_lacks_become_text():
    values = {"autograd": float("nan"), "manual": float("-inf"), "numeric": None, "forward": 1 + 2j}
    finding = Finding("x", "input", (2,), "complex128", "wrong", index=(1,), numbers=values, error=float("inf"))
    (content,) = strict(Report("f", (finding,)).to_json())["findings"]
    assert content["numbers"] == {"autograd": "nan", "manual": "-inf", "numeric": None, "forward": "(1+2j)"}
    assert content["error"] == "inf"
    assert content["index"] == [1]


# --- HTML -----------------------------------------------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of a page, those that are open at its end, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_html_holds_what_the_text_does(network):
    page = Tags(network._repr_html_())
    assert page.open == []
    shown = " ".join(page.text.split())
    for part in (network.headline, *network.glossary, "possibly the same cause, 2 more:", "0.bias["):
        assert part in shown
    assert page.tags.count("tr") == 1 + len(network.findings)


def test_what_a_name_holds_is_no_tag():
    bad = "<script>alert(1)</script><img src=x>"
    finding = Finding(bad, "input", (3,), "float64", "wrong", bad, index=(1,), numbers={bad: 1.0}, blame=bad, hint=bad)
    page = Tags(Report(bad, (finding,), (bad,))._repr_html_())
    assert not {"script", "img"} & set(page.tags)
    assert page.text.count(bad) >= 7


def test_a_page_fits_a_light_and_a_dark_notebook(network):
    page = network._repr_html_()
    style = page.partition("<style>")[2].partition("</style>")[0]
    rules = dict(re.findall(r"\.gradlab-check ?([^{}\n]*?) ?\{([^}]*)\}", style))
    assert "auto" in rules[".wide"]  # a table that is too wide scrolls by itself
    assert '<div class="wide"><table>' in page
    assert "pre-wrap" in rules["pre"]
    assert "inherit" in rules["pre"]
    for color in re.findall(r"color: #(\w{6})", style):
        for page_color in (1.0, 0.0):
            assert contrast(color, page_color) >= 3.0  # WCAG 2.2, 1.4.11


def contrast(color, other):
    """Of an sRGB color with a luminance, as WCAG 2.2 defines both."""
    channels = [int(color[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels)
    low, high = sorted((0.2126 * red + 0.7152 * green + 0.0722 * blue, other))
    return (high + 0.05) / (low + 0.05)
