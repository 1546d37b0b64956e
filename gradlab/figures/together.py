"""Several descents on one surface: all paths in one picture, and the same as an animation."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from gradlab.figures import contour, style
from gradlab.sinks import MemorySink

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

Runs = Mapping[str, MemorySink]

CAPTION = "the surface from above; a ring at the end of each path"
MOVING = "every ball makes its steps at the same time"
FRAMES, PACE, PAUSE = 45, 140, 2500  # pictures; how long each is shown, and the last, in thousandths of a second
DPI, SHARPER = 72, 2  # balls are drawn larger, then shrunk, which rounds them
COLORS = 128  # of the animation's palette


def draw(
    axes: Axes,
    paths: Mapping[str, np.ndarray],
    ground: MemorySink,
    title: str = "All paths",
    caption: str = CAPTION,
    looks: Sequence[tuple[str, str]] | None = None,
    widen: float = 0.0,
    bar: bool = False,
) -> None:
    """Draw several paths over one surface.

    Args:
        axes: where to draw.
        paths: [n, 2] each, finite, from the same start.
        ground: holds the surface's records.
        title, caption: of the picture.
        looks: a colour and a dash pattern for each; None takes those of `style.line_styles`.
        widen: by how many points each path is wider than the next, so that those which lie on one another are all seen.
        bar: whether a bar beside the axes says which colour is which height.
    """
    view, _ = contour.draw_ground(axes, ground, np.concatenate(list(paths.values())), bar)
    looks = style.line_styles(len(paths)) if looks is None else looks
    for place, ((name, path), (color, dash)) in enumerate(zip(paths.items(), looks, strict=True)):
        more = widen * (len(paths) - 1 - place)
        width, ring = 2.2 + more, 13 + 1.5 * more
        outline = [withStroke(linewidth=width + 2, foreground="white")] if not widen else None
        if widen:  # white below all of them, for between two colours it would hide the wider one
            axes.plot(*path.T, color="white", linewidth=width + 2, zorder=2.5)
        axes.plot(*path.T, dash, color=color, label=name, linewidth=width, path_effects=outline, zorder=3)
        axes.plot(*path[-1], "o", color=color, markersize=ring, markerfacecolor="none", markeredgewidth=3, zorder=5)
    first = next(iter(paths.values()))[0]
    axes.plot(*first, "o", color=style.INK, markersize=11, markeredgecolor="white", label="start", zorder=6)
    contour.draw_minimizers(axes, ground, view)
    style.dress(axes, title, caption, *contour.AXES)


def animation(runs: Runs) -> bytes:
    """The points moving down the surface, as a GIF that begins anew when it has ended.

    Args:
        runs: two-dimensional paths, and the surface's records. A run that made fewer steps waits at its end.
    """
    from PIL.Image import Dither

    figure, place = _stage(runs)
    picture = _pixels(figure)
    paths = {name: place(path) for name, path in paths_of(runs).items()}
    steps = frame_steps(max(map(len, paths.values())) - 1)
    frames = [_frame(picture, paths, step) for step in steps]
    palette = _palette(frames[-1], len(paths))
    reduced = [frame.quantize(palette=palette, dither=Dither.NONE) for frame in frames]
    file = io.BytesIO()
    times = [PACE] * (len(frames) - 1) + [PAUSE]
    reduced[0].save(file, "GIF", save_all=True, append_images=reduced[1:], duration=times, loop=0, optimize=True)
    return file.getvalue()


def frame_steps(last: int) -> list[int]:
    """The steps that are shown: many at first, when the points move fast.

    Example:
        >>> frame_steps(4), len(frame_steps(1000)) <= FRAMES, frame_steps(1000)[-1]
        ([0, 1, 2, 3, 4], True, 1000)
    """
    return np.unique(np.rint(np.linspace(0, 1, FRAMES) ** 1.6 * last).astype(int)).tolist()


def ground_of(runs: Runs) -> MemorySink:
    """The memory whose surface was recorded over the widest window."""
    return max(runs.values(), key=width_of)


def width_of(memory: MemorySink) -> float:
    """Width and height together of the window over which the surface was recorded."""
    return float(sum(np.ptp(axis) for axis in contour.landscape(memory)[:2]))


def paths_of(runs: Runs) -> dict[str, np.ndarray]:
    """The path of each run as far as it is finite, [n, 2]."""
    paths = {name: memory.arrays(contour.PATH)[1] for name, memory in runs.items()}
    return {name: path[np.isfinite(path).all(axis=1)] for name, path in paths.items()}


def _stage(runs: Runs) -> tuple[Figure, Any]:
    """The picture behind the balls, and the function from points [n, 2] to pixels [n, 2] of the large frames."""
    paths = paths_of(runs)
    figure = Figure((10, 8), dpi=DPI * SHARPER)
    axes = figure.add_axes((0.09, 0.09, 0.68, 0.79))
    view, _ = contour.draw_ground(axes, ground_of(runs), np.concatenate(list(paths.values())), bar=False)
    contour.draw_minimizers(axes, ground_of(runs), view)
    for number, (name, color) in enumerate(zip(paths, _colors(len(paths)), strict=True), start=1):
        axes.plot([], [], "o", color=color, markersize=13, label=f"{number}  {name}")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=1.0, handletextpad=0.3)
    style.dress(axes, "Downhill", MOVING, *contour.AXES)
    FigureCanvasAgg(figure).draw()
    height = figure.bbox.height

    def place(points: np.ndarray) -> np.ndarray:
        low, high = view.low - 0.02 * (view.high - view.low), view.high + 0.02 * (view.high - view.low)
        return axes.transData.transform(np.clip(points, low, high)) * [1, -1] + [0, height]

    return figure, place


def _colors(count: int) -> list[str]:
    return [color for color, _ in style.many_styles(count)]


def _pixels(figure: Figure) -> Image.Image:
    from PIL import Image

    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _palette(frame: Image.Image, count: int) -> Image.Image:
    """The colours of all frames: those of one, with those of the balls in such an amount that each is kept."""
    from PIL import Image, ImageDraw

    sample = Image.new("RGB", (frame.width, 2 * frame.height), style.INK)
    sample.paste(frame)
    pen = ImageDraw.Draw(sample)
    for place, color in enumerate(_colors(count)):
        left = place * frame.width // count
        pen.rectangle((left, frame.height, left + frame.width // count, 2 * frame.height), fill=color)
    return sample.quantize(COLORS)


def _frame(picture: Image.Image, paths: Mapping[str, np.ndarray], step: int) -> Image.Image:
    """One picture: what each has gone so far, and a numbered ball where it is."""
    from PIL import ImageDraw

    large = picture.copy()
    pen = ImageDraw.Draw(large)
    looks = list(zip(paths.values(), _colors(len(paths)), strict=True))
    for path, color in looks:
        gone = [tuple(point) for point in path[: step + 1]]
        if len(gone) > 1:
            pen.line(gone, fill=color, width=2 * SHARPER)
    for number, (path, color) in reversed(list(enumerate(looks, start=1))):
        _ball(pen, path[min(step, len(path) - 1)], color, str(number))
    corner = 0.97 * large.width, 0.03 * large.height
    pen.text(corner, f"step {step}", fill=style.INK, anchor="ra", font=_font(18 * SHARPER))
    return large.reduce(SHARPER)


def _ball(pen: ImageDraw.ImageDraw, at: np.ndarray, color: str, number: str) -> None:
    pen.circle(tuple(at), 11 * SHARPER, fill=color, outline="white", width=SHARPER)
    pen.text(tuple(at), number, fill="white", anchor="mm", font=_font(14 * SHARPER))


@cache
def _font(size: int) -> Any:
    from matplotlib.font_manager import findfont
    from PIL import ImageFont

    return ImageFont.truetype(findfont("DejaVu Sans:bold"), size)
