"""Where the bars of a picture lie: numbers for SVG, whose widths are shares, so that it fits every screen."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider_btrdb.report.pages import Picture, Tone

ROW, THICK = 32, 8
"""Pixels of a bar with its label, and of the bar alone."""
TALL, FOOT = 56, 6
"""Pixels of the highest upright bar, and of the foot below each."""
SLOTS = 30
"""Places for upright bars, where there are not more bars."""
LABEL = 60
"""Characters of a label."""


@dataclass(frozen=True, slots=True)
class Box:
    """One rectangle; `x` and `width` in percent, `y` and `height` in pixels."""

    x: float
    y: float
    width: float
    height: float
    tone: Tone
    title: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A count and what is counted, in a line of its own; `y` is its foot in pixels."""

    y: float
    count: str
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """All there is to draw, as wide as the page."""

    height: float
    boxes: tuple[Box, ...]
    labels: tuple[Label, ...] = ()


def drawn(picture: Picture) -> Drawing:
    """The longest bar takes all the room."""
    most = max((sum(count for count, _ in bar.parts) for bar in picture.bars), default=0) or 1
    return _upright(picture, most) if picture.upright else _lying(picture, most)


def _lying(picture: Picture, most: int) -> Drawing:
    boxes, labels = [], []
    for number, bar in enumerate(picture.bars):
        top, x = number * ROW, 0.0
        total = sum(count for count, _ in bar.parts)
        short = bar.label if len(bar.label) <= LABEL else f"{bar.label[: LABEL - 1]}\N{HORIZONTAL ELLIPSIS}"
        labels.append(Label(top + 15, str(total), short))
        for count, tone in bar.parts:
            width = round(100 * count / most, 2)
            boxes.append(Box(round(x, 2), top + 20, width, THICK, tone))
            x += width
    return Drawing(len(picture.bars) * ROW, tuple(boxes), tuple(labels))


def _upright(picture: Picture, most: int) -> Drawing:
    boxes = []
    step = 100 / max(len(picture.bars), SLOTS)
    for number, bar in enumerate(picture.bars):
        x, width, foot = round(number * step, 2), round(step * 0.8, 2), float(TALL)
        boxes.append(Box(x, TALL, width, FOOT, bar.tone, bar.label))
        for count, tone in bar.parts:
            height = round(TALL * count / most, 2)
            foot -= height
            boxes.append(Box(x, round(foot, 2), width, height, tone, bar.label))
    return Drawing(TALL + FOOT, tuple(box for box in boxes if box.height))
