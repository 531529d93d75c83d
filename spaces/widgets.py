"""What tabs share: the theme, seed row, galleries, run and stop buttons, notices, listeners, endpoints."""

import contextlib
import functools
import html
import inspect
import secrets
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from core.errors import FacetError

STYLE = Path(__file__).with_name("facet.css")
MARK = """<svg width="40" height="40" viewBox="0 0 32 32" aria-hidden="true" xmlns="http://www.w3.org/2000/svg">
<path fill="#12606b" d="M16 2 29 11 24 28H8L3 11z"/><path fill="#2f8f9a" d="M16 2 29 11 16 17z"/>
<path fill="#e9d8c3" d="M16 2 3 11l13 6z"/><path fill="#cf6a3f" d="M3 11l13 6-8 11z"/>
<path fill="#1c7480" d="M29 11 16 17l8 11z"/></svg>"""
SCRIPT = Path(__file__).with_name("page.js").read_text(encoding="utf-8")
HEAD = (f'<link rel="icon" href="data:image/svg+xml,{quote(MARK)}"><meta name="color-scheme" content="light dark">'
        f"<style>.gradio-container {{ overflow: clip !important; }}</style>"       # hidden, nothing could stay in view
        f"<script>{SCRIPT}</script>")
GPU_TURN = {"concurrency_id": "gpu", "concurrency_limit": 1}     # whatever computes pictures, one at a time in all tabs
LESSON_TURN = {"concurrency_id": "lesson", "concurrency_limit": 1}      # the training of a person, which takes minutes
PRIVACY = "It is used for this alone and deleted within three hours."
Change = dict[Any, Any]     # widget: its new value
RANDOM_SEED, FIXED_SEED = "Random", "Fixed"
NOTICE = " with notice"     # at the end of a run id: the notice on the page belongs to this run
TEAL = ("#eef7f7", "#d5ebec", "#addadc", "#7cc1c5", "#4aa3aa", "#2b8690", "#1a6d78", "#165862", "#14474f", "#123b42",
        "#08262b")
PAPER = ("#fbfaf7", "#f4f2ed", "#e7e3db", "#d3cdc2", "#a8a196", "#7b756b", "#5c5850", "#43403b", "#2a2a28", "#1d1e1e",
         "#141616")
LOOK = {    # of gradio's theme: what it is in the light, and in the dark where that differs
    "body_background_fill": ("*neutral_50", "*neutral_950"),
    "body_text_color_subdued": ("*neutral_600", "*neutral_400"),
    "block_background_fill": ("white", "*neutral_900"),
    "block_border_width": ("1px", "1px"),
    "block_border_color": ("*neutral_200", "*neutral_800"),
    "block_label_background_fill": ("transparent", "transparent"),
    "block_label_border_width": ("0px", "0px"),
    "block_label_text_color": ("*neutral_600", "*neutral_400"),
    "input_background_fill": ("*neutral_50", "*neutral_800"),
    "button_border_width": ("1px", "1px"),
    "button_primary_background_fill": ("*primary_600", "*primary_600"),
    "button_primary_background_fill_hover": ("*primary_700", "*primary_500"),
    "button_primary_text_color": ("white", "white"),
    "button_secondary_background_fill": ("white", "*neutral_800"),
    "button_secondary_border_color": ("*neutral_300", "*neutral_700"),
    "slider_color": ("*primary_500", "*primary_400"),
}


def theme() -> gr.themes.Base:
    """Paper and ink with one blue-green; the fonts come with gradio, so nothing is fetched."""
    teal, paper = gr.themes.Color(*TEAL, name="teal"), gr.themes.Color(*PAPER, name="paper")
    sans = [gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "system-ui", "sans-serif"]
    base = gr.themes.Base(primary_hue=teal, secondary_hue=teal, neutral_hue=paper, font=sans,
                          radius_size=gr.themes.sizes.radius_lg)
    light, dark = ({name: pair[i] for name, pair in LOOK.items()} for i in (0, 1))
    return base.set(**light, **{f"{name}_dark": value for name, value in dark.items()})


def header() -> gr.HTML:
    """The name of the page and its subject."""
    return gr.HTML(f"<header>{MARK}<div><h1>Facet</h1><p>Face synthesis from published papers</p></div></header>",
                   elem_id="top")


def seed_row(first: int, tab: str = "") -> tuple[gr.Number, gr.Radio]:
    """The seed in use, and what the next click does with it. tab: what the ids of the widgets begin with."""
    with gr.Row(elem_classes="seeds"):
        seed = gr.Number(first, label="Seed", precision=0, min_width=110, elem_id=f"{tab}seed")
        mode = gr.Radio([RANDOM_SEED, FIXED_SEED], value=RANDOM_SEED, label="Next seed", min_width=190,
                        elem_id=f"{tab}mode", elem_classes="mode")
    seed.input(lambda: FIXED_SEED, outputs=mode, show_progress="hidden", queue=False, api_visibility="private")
    return seed, mode


def next_seed(mode: str, seed: float | None) -> float:
    """The seed of the next click: the one shown, or a new one."""
    return new_seed() if mode == RANDOM_SEED or seed is None else seed


def new_seed() -> int:
    """A random seed of at most six digits, which people can read to each other."""
    return secrets.randbelow(1_000_000)


def new_run_id() -> str:
    """Random token; writing it to a state triggers what listens to its change."""
    return secrets.token_hex(8)


def new_run_id_with_notice() -> str:
    """The same for a run that keeps the notice that is on the page."""
    return f"{new_run_id()}{NOTICE}"


def run_row(tab: str = "", words: str = "Generate", name: str = "generate") -> tuple[gr.Button, gr.Button]:
    """A button that begins, and Stop in its place while there is something to stop."""
    go = gr.Button(words, variant="primary", size="lg", elem_id=f"{tab}{name}", elem_classes="run")
    stop = gr.Button("Stop", variant="stop", size="lg", visible=False,
                     elem_id=f"{tab}stop" if name == "generate" else f"{tab}stop-{name}", elem_classes="run")
    return go, stop


def small_gallery(label: str, name: str, classes: str = "", **options: Any) -> gr.Gallery:
    """A gallery to choose one face from."""
    return gr.Gallery(label=label, columns=4, allow_preview=False, buttons=[], interactive=False, elem_id=name,
                      elem_classes=f"faces small {classes}".split(), height="auto", format="png", **options)


def show(place: str) -> str:
    """JavaScript that brings a place of the page into view: on a phone, results lie below."""
    return f"""() => document.querySelector('{place}')?.scrollIntoView(
  {{behavior: 'smooth', block: innerWidth < 760 ? 'start' : 'nearest'}})"""


def safe(text: str) -> str:
    """Text from outside with its markup escaped."""
    return html.escape(text)


def sentence(error: FacetError) -> str:
    """An error as the page shows it: what is wrong, then what to do."""
    step = f" <span>{html.escape(error.next_step)}</span>" if error.next_step else ""
    return f'<div class="notice bad" role="alert"><b>{html.escape(error.message)}</b>{step}</div>'


def unforeseen(error: Exception) -> FacetError:
    """An unexpected error, for the page; the terminal gets the traceback."""
    traceback.print_exception(error)
    return FacetError("An unexpected error occurred.", "Try again; the terminal of the app shows the details.")


def known(error: Exception) -> FacetError:
    """The error itself if the project raised it, else `unforeseen`."""
    return error if isinstance(error, FacetError) else unforeseen(error)


def unchanged(widget: Any) -> Change:
    """No change at all; gradio does not take an empty one, so any output of the listener is named."""
    return {widget: gr.skip()}


def safely(handler: Callable[..., Change]) -> Callable[..., Change]:
    """A handler whose errors become the notice of its tab, and nothing else changes."""
    @functools.wraps(handler)
    def safe(self: Any, *args: Any, **kwargs: Any) -> Change:
        try:
            return {self.notice: "", **handler(self, *args, **kwargs)}
        except Exception as error:
            return {self.notice: sentence(known(error))}
    return safe


def remark(text: str) -> str:
    """Something worth knowing, as the page shows it."""
    return f'<div class="notice" role="status">{html.escape(text)}</div>'


def progress(done: float, total: float, words: str) -> str:
    """How far the work is, in words and as a line."""
    share = 100 * done / max(1, total)
    return (f'<div class="progress" role="status"><p>{html.escape(words)}</p>'
            f'<i class="{"busy" if done < total else "done"}" style="--share:{share:.1f}%"></i></div>')


def facts(table: dict[str, str]) -> str:
    """Names and values in a line, for the small print."""
    pairs = (f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>" for name, value in table.items())
    return f'<dl class="facts">{"".join(pairs)}</dl>'


def computed_by(about: dict[str, str]) -> str:
    """What computes here, for the foot of a tab."""
    attention = {"attention": about["kernel"]} if "kernel" in about else {}
    return facts({"checkpoint": f"{about['checkpoint']} {about['sha256'][:8]}", **attention,
                  "device": about["device"], "Facet": about["version"], "torch": about["torch"],
                  "gradio": gr.__version__})


ONCE = (gr.State, gr.Timer, gr.HTML, gr.Markdown, gr.Row, gr.components.FormComponent)  # others change them meanwhile
QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


def private(triggers: Any, task: Callable | None, inputs: dict[str, Any], outputs: list, **options: Any) -> Any:
    """A listener of the page's own, its inputs passed by name; the public ways in are endpoints."""
    task = repeating(task) if inspect.isgeneratorfunction(task) else task
    return gr.on(triggers, task, inputs_kwargs=inputs, outputs=outputs, **QUIET, **options)


def repeating(task: Callable[..., Iterator[Change]]) -> Callable[..., Iterator[Change]]:
    """A handler whose every yield says again what earlier ones said of a widget that it leaves out.

    Gradio sends differences, and the page works them into one object per widget, also while earlier yields still wait
    there to be shown: what a later yield leaves out is gone from those too, and a slow machine never shows it. What
    is in `ONCE` is said once; such values arrive whole.
    """
    @functools.wraps(task)
    def again(*args: Any, **kwargs: Any) -> Iterator[Change]:
        said: Change = {}
        with contextlib.closing(task(*args, **kwargs)) as changes:
            for change in changes:
                said |= {widget: value for widget, value in change.items() if not skipped(value)}
                yield change | {widget: dict(value) if isinstance(value, dict) else value for widget, value in
                                said.items()}       # gradio empties the updates it is given
                said = {widget: value for widget, value in said.items() if not isinstance(widget, ONCE)}
    return again


def skipped(value: Any) -> bool:
    """Whether it stands for no change."""
    return isinstance(value, dict) and value == gr.skip()


def endpoint(task: Callable, inputs: list, outputs: list, **options: Any) -> None:
    """A named API endpoint: the function's name, docstring and parameters; its widgets are never on the page.

    Inputs and outputs are components made for it, in the order of the parameters; an error is its sentence.
    """
    with gr.Row(visible=False):
        for component in (*inputs, *outputs):
            component.render()
        gr.Button(task.__name__).click(_answering(task), inputs, outputs, api_name=task.__name__,
                                       api_description=inspect.getdoc(task), **options)


def _answering(task: Callable) -> Callable:
    """The task with its sentence as gradio's error."""
    if inspect.isgeneratorfunction(task):
        @functools.wraps(task)
        def stream(*args: Any) -> Iterator[Any]:
            try:
                yield from task(*args)
            except FacetError as error:
                raise _shown(error) from error
        return stream

    @functools.wraps(task)
    def answer(*args: Any) -> Any:
        try:
            return task(*args)
        except FacetError as error:
            raise _shown(error) from error
    return answer


def _shown(error: FacetError) -> gr.Error:
    return gr.Error(html.escape(f"{error.message} {error.next_step}".strip(), quote=False), print_exception=False)
