"""The tabs, one file each: widgets in, widgets out, no tensors.

Also the seam to the Hub's distribution of the same name, which lends GPUs by the call. Gradio imports `spaces` by name
and on a Space calls `spaces.gradio_auto_wrap` for every listener, so this folder joins the two instead of hiding one:
our files first, then the distribution's. Nothing is imported until one of its names is asked for; where the
distribution is not installed, the names are there and do nothing.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import extend_path
from typing import Any

__path__ = extend_path(__path__, __name__)


def _gpu(task: Callable | None = None, **_: Any) -> Callable:
    """`@GPU` and `@GPU(duration=…)` where no GPU is lent: the function itself."""
    return task if callable(task) else lambda function: function


_FROM = {
    "GPU": ".zero.decorator",
    "gradio_auto_wrap": ".gradio",
    "enable_gradio_auto_wrap": ".gradio",
    "disable_gradio_auto_wrap": ".gradio",
}
_WITHOUT: dict[str, Callable] = {
    "GPU": _gpu,
    "gradio_auto_wrap": lambda task: task,
    "enable_gradio_auto_wrap": lambda: None,
    "disable_gradio_auto_wrap": lambda: None,
}


def __getattr__(name: str) -> Any:
    """The distribution's own GPU and friends, resolved on first use; stand-ins only where it is not installed."""
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        found = getattr(import_module(_FROM[name], __name__), name)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith(f"{__name__}."):
            raise
        found = _WITHOUT[name]
    globals()[name] = found
    return found
