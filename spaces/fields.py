"""A widget for a setting of a request: its label, range and default are those of the `Setting`."""

from typing import Any

import gradio as gr

from core.engine.request import Request, Setting


def field(request: type[Request], name: str, **changes: Any) -> Any:
    """The page's widget for one setting. changes: arguments of the component that differ, such as elem_id or value."""
    setting = request.settings()[name]
    return _made(setting, {"label": setting.label, "value": setting.default,
                           **({"info": f"{setting.info.rstrip('.')}."} if setting.info else {}), **changes})


def _made(setting: Setting, options: dict[str, Any]) -> Any:
    if setting.kind in ("whole", "number"):
        low, high = options.pop("minimum", setting.low), options.pop("maximum", setting.high)
        return gr.Slider(low, high, **{"step": setting.step, **options})
    if setting.kind == "choice":
        options = {"choices": [(label, value) for value, label in setting.choices.items()], **options}
        return gr.Radio(**options) if len(setting.choices) <= 3 else gr.Dropdown(**options)
    if setting.kind == "flag":
        return gr.Checkbox(**options)
    if setting.kind == "text":
        return gr.Textbox(max_length=int(setting.high), **options)
    raise ValueError(f"the page has no widget for a {setting.kind}")


def parameter(setting: Setting) -> Any:
    """The component that types one parameter of an endpoint; it is never on the page."""
    label = setting.help
    if setting.kind in ("whole", "number", "seed"):
        return gr.Number(setting.default, label=label, render=False)
    if setting.kind in ("file", "files"):
        return gr.File(label=label, file_count="multiple" if setting.kind == "files" else "single", render=False)
    if setting.kind == "flag":
        return gr.Checkbox(setting.default, label=label, render=False)
    return gr.Textbox(setting.default, label=label, render=False)
