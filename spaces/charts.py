"""Small plots in HTML and SVG: they follow the page's colours and are as wide as there is room."""

import html
from collections.abc import Mapping, Sequence

MOST = 240          # points of a curve that are drawn
OLDEST = 90.0       # years at the upper edge of the plot of ages


def ages(names: Sequence[str], years: Sequence[float | None], alike: Sequence[float | None],
         spans: Sequence[tuple[float, float]]) -> str:
    """Judged years and similarity under a strip, one column a picture.

    spans: for each picture the years that its age means, shaded; may be empty.
    """
    bands = [_band(low / OLDEST, min(high, OLDEST) / OLDEST) for low, high in spans]
    heads = "".join(f"<span>{html.escape(name)}</span>" for name in names)
    label = "; ".join(f"{name}: {_told(y, '{:.0f} years')}, similarity {_told(a, '{:.2f}')}"
                      for name, y, a in zip(names, years, alike, strict=True))
    return (f'<figure class="plot" style="--columns:{len(names)}" role="img" aria-label="{html.escape(label)}">'
            f'<figcaption>Estimated years <em>shaded: range of the age</em></figcaption>'
            f"{_track(years, OLDEST, '{:.0f}', bands)}"
            f"<figcaption>Similarity to the person</figcaption>{_track(alike, 1.0, '{:.2f}', [], 'alike')}"
            f'<div class="columns heads">{heads}</div></figure>')


def curves(losses: Mapping[str, Sequence[float]], steps: int) -> str:
    """Losses as they fall, each as a part of what it was at first; one line and one colour each."""
    lines, names = [], []
    for number, (name, values) in enumerate(losses.items()):
        values = smooth([value for value in values if value == value])
        if len(values) < 2:
            continue
        top = max(values) or 1.0
        points = " ".join(f"{100 * at:.2f},{38 - 36 * value / top:.2f}" for at, value in
                          _thinned([(number / max(1, steps - 1), value) for number, value in enumerate(values)]))
        lines.append(f'<polyline class="line-{number}" points="{points}"/>')
        names.append(f'<span class="line-{number}"><i></i>{html.escape(name)} <b>{values[-1]:.3g}</b></span>')
    return (f'<figure class="curve" role="img" aria-label="losses so far"><svg viewBox="0 0 100 40" '
            f'preserveAspectRatio="none"><path class="floor" d="M0 38H100"/>{"".join(lines)}</svg>'
            f'<figcaption class="legend">{"".join(names)}</figcaption></figure>')


def histogram(title: str, edges: Sequence[float], counts: Sequence[int], unit: str) -> str:
    """A histogram as bars. edges: one more than `counts`, equally spaced. unit: what is counted."""
    top = max(1, *counts)
    bars = "".join(f'<i style="height:{100 * count / top:.1f}%" title="{low:.2f} to {high:.2f}: {count} {unit}"></i>'
                   for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True))
    label = f"{title}: {sum(counts)} {unit}, most between {_fullest(edges, counts)}"
    return (f'<figure class="histogram" role="img" aria-label="{html.escape(label)}"><figcaption>{html.escape(title)}'
            f'</figcaption><div class="bars">{bars}</div><div class="axis"><span>{edges[0]:g}</span>'
            f"<span>{(edges[0] + edges[-1]) / 2:g}</span><span>{edges[-1]:g}</span></div></figure>")


def _fullest(edges: Sequence[float], counts: Sequence[int]) -> str:
    """The interval of the highest bar."""
    at = max(range(len(counts)), key=lambda number: counts[number])
    return f"{edges[at]:.2f} and {edges[at + 1]:.2f}"


def smooth(values: Sequence[float], keep: float = 0.85) -> list[float]:
    """A running mean, without the pull towards 0 at its beginning."""
    mean, weight, found = 0.0, 0.0, []
    for value in values:
        mean, weight = keep * mean + (1 - keep) * value, keep * weight + (1 - keep)
        found.append(mean / weight)
    return found


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most about MOST of the points, the last among them."""
    stride = max(1, len(points) // MOST)
    return [*points[:-1:stride], points[-1]]


def _track(values: Sequence[float | None], top: float, form: str, bands: Sequence[str], kind: str = "") -> str:
    """One row of the plot: dots with their numbers, and the line through them."""
    heights = [None if value is None else min(max(value / top, 0.0), 1.0) for value in values]
    known = [(100 * (at + 0.5) / len(values), 100 - 100 * height) for at, height in enumerate(heights)
             if height is not None]
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in known)
    dots = "".join("<span></span>" if height is None else
                   f'<span><i style="bottom:{100 * height:.1f}%"></i>'
                   f'<b class="{"under" if height > 0.72 else ""}" style="bottom:{100 * height:.1f}%">'
                   f"{form.format(value)}</b></span>"
                   for value, height in zip(values, heights, strict=True))
    shade = f'<div class="columns bands">{"".join(bands)}</div>' if bands else ""
    return (f'<div class="track {kind}">{shade}<svg viewBox="0 0 100 100" preserveAspectRatio="none" '
            f'aria-hidden="true"><polyline points="{line}"/></svg><div class="columns dots">{dots}</div></div>')


def _band(low: float, high: float) -> str:
    return f'<span><i style="bottom:{100 * low:.1f}%;height:{100 * (high - low):.1f}%"></i></span>'


def _told(value: float | None, form: str) -> str:
    return "unknown" if value is None else form.format(value)
