"""The 35 attribute sliders as one component: groups, search, presets, a pin and a reset for each, undo and redo."""

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from core.engine.request import Setting
from spaces.widgets import new_run_id

SCRIPT = Path(__file__).with_name("sliders.js").read_text(encoding="utf-8")
PIN = ('<svg viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><path fill="currentColor" '
       'd="M10 1l5 5-2 1-2 4 1 2-4-3-5 5-1-1 5-5-3-4 2 1 4-2z"/></svg>')


def sliders(settings: Mapping[str, Setting], groups: Mapping[str, Sequence[str]],
            presets: Mapping[str, Mapping[str, float]], asked: Mapping[str, float], **options: Any) -> gr.HTML:
    """The component. Its value: {"face": text, "start": {name: number}, "asked": {name: number}, "frozen": [name]}, and
    on request "only": [name], the attributes to show; without it, they stay.

    An answer about the same face only updates `start`: what a visitor moved meanwhile stays.
    settings: of each attribute. groups: title to names; the first two are open. presets: title to what it asks for.
    asked: what the page asks for when it opens.
    """
    return gr.HTML({**empty(), "asked": dict(asked)}, html_template=_page(settings, groups, presets), js_on_load=SCRIPT,
                   **options)


def empty() -> dict[str, Any]:
    """The value of a face that is not known yet: nothing is asked."""
    return {"face": new_run_id(), "start": {}, "asked": {}, "frozen": []}


def _page(settings: Mapping[str, Setting], groups: Mapping[str, Sequence[str]],
          presets: Mapping[str, Mapping[str, float]]) -> str:
    chips = "".join(f'<button type="button" class="preset" data-asked="{html.escape(json.dumps(dict(asked)))}">'
                    f"{html.escape(title.capitalize())}</button>" for title, asked in presets.items())
    folds = "".join(f'<details {"open" if number < 2 else ""}><summary>{html.escape(title)}</summary>'
                    f'{"".join(_row(name, settings[name]) for name in names)}</details>'
                    for number, (title, names) in enumerate(groups.items()))
    return ('<div class="sliders"><div class="bar"><input type="search" class="search" placeholder="Search attributes" '
            'aria-label="Search attributes"><button type="button" class="undo">Undo</button>'
            '<button type="button" class="redo">Redo</button><button type="button" class="reset-all">Reset all</button>'
            f'</div><div class="presets">{chips}</div>{folds}</div>')


def _row(name: str, setting: Setting) -> str:
    label, step = html.escape(setting.label), setting.step or 0.05
    return (f'<div class="attribute" data-name="{name}" data-step="{step}" title="{html.escape(setting.info)}">'
            f'<label for="slider-{name}">{label}</label><output for="slider-{name}"></output>'
            f'<button type="button" class="reset" aria-label="Reset {label}">↺</button>'
            f'<button type="button" class="pin" aria-pressed="false" aria-label="Freeze {label}">{PIN}</button>'
            f'<input type="range" id="slider-{name}" min="{setting.low:g}" max="{setting.high:g}" step="{step:g}">'
            "</div>")
