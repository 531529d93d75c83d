"""`python -m core score`: measure a system against its bars."""

import json
from pathlib import Path
from typing import Annotated, Literal

from typer import Argument, Exit, Option

from core.errors import SettingsError
from core.output import check_ending

System = Literal["embedder", "judge", "vectors", "aging", "attributes", "clusters", "recogniser", "pictures"]
PLOTTED = ("aging", "attributes")


def score(
    system: Annotated[System, Argument(help="What to measure.")],
    as_json: Annotated[bool, Option("--json", help="Print JSON for programs.")] = False,
    quick: Annotated[bool, Option(help="Few people, as a check that it runs; figures are unreliable.")] = False,
    weights: Annotated[list[Path] | None, Option(help="recogniser: a file of `train recogniser` or a checkpoint such "
                                                      "as hsface-10k; give two to compare them.",
                                                 show_default=False)] = None,
    short: Annotated[bool, Option("--short", help="aging: only the shipped way of training, on all people. "
                                                "attributes: 60 people instead of 500. "
                                                "clusters: 4,200 faces instead of 20,000.")] = False,
    method: Annotated[Literal["l2m"] | None, Option(help="attributes: the bars of L2M-GAN, and one table over all "
                                                         "methods.", show_default=False)] = None,
    images: Annotated[Path | None, Option(help="pictures: folder of aligned faces to compare with drawn ones.",
                                          show_default=False)] = None,
    plot: Annotated[Path | None, Option(help="aging: write a confusion matrix of ages to this PNG. attributes: write "
                                             "the leakage of every attribute into every other.",
                                        show_default=False)] = None,
) -> None:
    """Measure a system on test people against its bars; exit status 0 only when all are met.

    Aging trains twenty test people in four ways: up to two hours on two cores. --short trains them only in the shipped
    way: half an hour. --quick trains three people in two ways: up to ten minutes. Interrupted runs are resumed.
    Attributes edits 500 test people by three methods: up to two hours, and once half an hour more to draw them.
    --short edits 60: a quarter of an hour.
    Clusters draws 20,000 test faces the first time: an hour or two. --short draws 4,200.
    """
    from core import scoring

    if plot and system not in PLOTTED:
        raise SettingsError(f"--plot is not available for {system}.",
                            f"Leave out --plot; it belongs to {' and '.join(f'`score {each}`' for each in PLOTTED)}.")
    if plot and method:
        raise SettingsError("--plot is not available with --method.", "Leave out one of both.")
    if plot:
        check_ending(plot, "--plot")
    found = scoring.score(system, quick, weights or (), short, images, method)
    print(json.dumps(found, ensure_ascii=False) if as_json else table(found))
    if plot and system == "aging":
        from core.scoring import confusion

        confusion.write(plot, found["confusion"]["ages"], found["confusion"]["counts"])
    if plot and system == "attributes":
        from core.scoring import leakage

        leakage.write(plot, found["leakage"]["names"], found["leakage"]["rows"])
    if not all(bar["met"] for bar in found["bars"]):
        raise Exit(1)


def table(found: dict) -> str:
    """The bars as text: name, value, goal, verdict; then the confusion matrix or the table of methods, if any."""
    width = max((len(bar["name"]) for bar in found["bars"]), default=0)
    values = [" missing" if bar["value"] is None else f"{bar['value']:8.4f}" for bar in found["bars"]]
    lines = [f"{bar['name']:<{width}}  {value}  {bar['goal']:<8}  {verdict(bar)}".rstrip()
             for bar, value in zip(found["bars"], values, strict=True)]
    if "confusion" in found:
        from core.scoring import confusion

        lines += ["", confusion.text(found["confusion"]["ages"], found["confusion"]["counts"])]
    if "methods" in found:
        columns, rows = found["methods"]["columns"], found["methods"]["rows"]
        wide = max(map(len, rows))
        lines += ["", " " * wide + "".join(f"  {column:>16}" for column in columns)]
        lines += [f"{name:<{wide}}" + "".join(f"  {value:>16.3f}" for value in values) for name, values in rows.items()]
    return "\n".join(lines)


def verdict(bar: dict) -> str:
    """The verdict of a bar; empty without a goal."""
    return "" if bar["goal"] == "reported" else "met" if bar["met"] else "NOT MET"
