"""score: the bars of a system and what it reaches."""

import json
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Exit, Option

from core.errors import SettingsError

System = Literal["embedder", "judge", "vectors", "aging", "recogniser", "pictures"]


def score(
    system: Annotated[System, Argument(help="What to measure.")],
    as_json: Annotated[bool, Option("--json", help="Print JSON for programs.")] = False,
    quick: Annotated[bool, Option(help="A few people only, to see that it runs; the numbers say little.")] = False,
    weights: Annotated[list[Path] | None, Option(help="A recogniser that `train recogniser` wrote, or a checkpoint "
                                                      "such as hsface-10k; twice, to hold the second against the "
                                                      "first.", show_default=False)] = None,
    short: Annotated[bool, Option("--short", help="Of aging: everybody, taught in the way that ships alone.")] = False,
    images: Annotated[Path | None, Option(help="Of pictures: a folder of aligned faces, to be held against drawn ones.",
                                          show_default=False)] = None,
    plot: Annotated[Path | None, Option(help="Of aging: draw the ages asked and judged into this PNG.",
                                        show_default=False)] = None,
) -> None:
    """Measure a system on test people against its bars; exit status 0 only when all are met.

    Aging teaches twenty test people in four ways: up to two hours on two cores. With --short in the way that ships:
    half an hour. With --quick three people in two ways: up to ten minutes. A run that was cut off goes on where it was.
    """
    from core import scoring

    if plot and system != "aging":
        raise SettingsError(f"{system} has nothing to plot.", "Leave --plot out; it is for `score aging`.")
    found = scoring.score(system, quick, weights or (), short, images)
    print(json.dumps(found, ensure_ascii=False) if as_json else table(found))
    if plot:
        from core.scoring import confusion

        confusion.write(plot, found["confusion"]["ages"], found["confusion"]["counts"])
    if not all(bar["met"] for bar in found["bars"]):
        raise Exit(1)


def table(found: dict) -> str:
    """The bars as lines of text: name, value, goal, and whether it is met; below them a confusion table, if any."""
    width = max(len(bar["name"]) for bar in found["bars"])
    lines = [f"{bar['name']:<{width}}  {bar['value']:8.4f}  {bar['goal']:<8}  {verdict(bar)}".rstrip()
             for bar in found["bars"]]
    if "confusion" in found:
        from core.scoring import confusion

        lines += ["", confusion.text(found["confusion"]["ages"], found["confusion"]["counts"])]
    return "\n".join(lines)


def verdict(bar: dict) -> str:
    """Whether a bar is met; nothing of a number that has no goal."""
    return "" if bar["goal"] == "reported" else "met" if bar["met"] else "NOT MET"
