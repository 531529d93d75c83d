"""A request: one action of a system and its settings, each declared once.

    @dataclass(frozen=True)
    class Draw(Request):
        count: int = whole(8, 1, 64, "How many")
        seed: int = seed()

Widgets (`spaces.fields`), endpoints (`spaces.api`) and command-line options (`core.commands.run`) are derived from
these lines. The pipeline calls `checked()` once; the functions inside trust the values.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from core.checks import allowed_number, allowed_whole, shown
from core.errors import SettingsError
from core.sampling import allowed_seed, settle_seed

PLAIN = {"whole": int, "seed": int, "number": float, "text": str, "choice": str, "flag": bool, "file": str,
         "files": list[str]}        # kind of a setting: the type of its value


@dataclass(frozen=True)
class Setting:
    """One value that a person may set.

    kind: one of PLAIN. low, high: inclusive; for a text, high is its longest length. step: of a slider. choices: value
    -> label. optional: None is allowed and means "not set". label, info: the words beside it.
    """

    kind: str
    default: Any
    label: str
    info: str = ""
    low: float = -math.inf
    high: float = math.inf
    step: float = 1
    choices: Mapping[str, str] = dataclasses.field(default_factory=dict)
    optional: bool = False

    @property
    def type(self) -> Any:
        """The Python type of a value."""
        return PLAIN[self.kind] | None if self.optional else PLAIN[self.kind]

    @property
    def help(self) -> str:
        """Label, information and range, for a command or an endpoint."""
        ranged = {"whole": f"{self.low:.0f} to {self.high:.0f}", "number": f"{self.low:g} to {self.high:g}",
                  "choice": ", ".join(filter(None, self.choices)), "seed": "-1 takes a new one"}.get(self.kind, "")
        return ". ".join(filter(None, (self.label, self.info.rstrip("."), ranged))) + "."

    def check(self, name: str, value: Any) -> Any:
        """The value in its own type; a seed of -1 or None becomes a new seed.

        Raises SettingsError, which names the argument, its value and what is allowed.
        """
        if value is None and self.optional and self.kind != "seed":
            return None
        allowed = getattr(self, f"_check_{self.kind}")(value)
        if allowed:
            raise SettingsError(f"{name} can't be {shown(value)}.", allowed)
        if self.kind == "seed":
            return settle_seed(value)
        convert = {"whole": int, "number": float, "file": str, "files": lambda paths: tuple(map(str, paths))}
        return convert.get(self.kind, lambda same: same)(value)

    # Each returns what is allowed as a sentence, or None for a value that is fine.

    def _check_number(self, value: Any) -> str | None:
        return allowed_number(value, self.low, self.high)

    def _check_whole(self, value: Any) -> str | None:
        return allowed_whole(value, self.low, self.high)

    def _check_seed(self, value: Any) -> str | None:
        return allowed_seed(value)

    def _check_text(self, value: Any) -> str | None:
        if not isinstance(value, str):
            return "Write it in words."
        return f"Write at most {self.high:.0f} letters; these are {len(value):,}." if len(value) > self.high else None

    def _check_choice(self, value: Any) -> str | None:
        fine = isinstance(value, str) and value in self.choices
        return None if fine else f"Choose from: {', '.join(filter(None, self.choices))}."

    def _check_flag(self, value: Any) -> str | None:
        return None if isinstance(value, bool) else "Choose true or false."

    def _check_file(self, value: Any) -> str | None:
        return None if isinstance(value, str | Path) else "Give the path of a file."

    def _check_files(self, value: Any) -> str | None:
        fine = isinstance(value, list | tuple) and all(isinstance(path, str | Path) for path in value)
        return None if fine else "Give a list of files."


def _field(setting: Setting) -> Any:
    return dataclasses.field(default=setting.default, metadata={"setting": setting})


def whole(default: int | None, low: int, high: int, label: str, info: str = "") -> Any:
    """A whole number in [low, high]; a default of None makes it optional."""
    return _field(Setting("whole", default, label, info, low, high, optional=default is None))


def number(default: float | None, low: float, high: float, label: str, info: str = "", step: float = 0.05) -> Any:
    """A number in [low, high]; a default of None makes it optional."""
    return _field(Setting("number", default, label, info, low, high, step, optional=default is None))


def text(default: str, label: str, info: str = "", longest: int = 400) -> Any:
    """A text of at most `longest` letters."""
    return _field(Setting("text", default, label, info, high=longest))


def choice(default: str, choices: Mapping[str, str], label: str, info: str = "") -> Any:
    """One of several values. choices: value -> label."""
    return _field(Setting("choice", default, label, info, choices=choices))


def flag(default: bool, label: str, info: str = "") -> Any:
    """Yes or no."""
    return _field(Setting("flag", default, label, info))


def file(label: str, info: str = "") -> Any:
    """The path of a file; None is none."""
    return _field(Setting("file", None, label, info, optional=True))


def files(label: str, info: str = "") -> Any:
    """Paths of files."""
    return _field(Setting("files", (), label, info))


def seed() -> Any:
    """The seed of the first picture; the next pictures take the next seeds. -1 and None take a new one."""
    return _field(Setting("seed", -1, "Seed", "The same seed gives the same picture", optional=True))


@dataclass(frozen=True)
class Request:
    """One action with its settings; a subclass for each action. The first line of its docstring is its help text.

    Fields without a Setting are objects that the caller holds already; they are neither options nor stored.
    """

    system: ClassVar[str] = ""
    action: ClassVar[str] = ""                  # as in `run SYSTEM ACTION`
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = MappingProxyType({})   # name: {setting: value}
    hidden: ClassVar[frozenset[str]] = frozenset()      # inherited settings that this action does not have
    expected: ClassVar[float] = 5.0             # estimated seconds, for the display of the wait
    draws: ClassVar[bool] = True                # whether it gives a stream of Results

    @classmethod
    def settings(cls) -> dict[str, Setting]:
        """The settings by name, in the order of the fields."""
        return {field.name: field.metadata["setting"] for field in dataclasses.fields(cls)
                if "setting" in field.metadata and field.name not in cls.hidden}

    @classmethod
    def help(cls) -> str:
        """What the action does, from the docstring."""
        return (cls.__doc__ or "").strip()

    def values(self) -> dict[str, Any]:
        """The settings' values by name."""
        return {name: getattr(self, name) for name in self.settings()}

    def checked(self) -> Self:
        """The same request with every value in range and of its own type, the seed chosen. Raises SettingsError."""
        return replace(self, **{name: setting.check(name, getattr(self, name))
                                for name, setting in self.settings().items()})

    @classmethod
    def from_png(cls, stored: Mapping[str, Any], **held: Any) -> Self:
        """The request that a picture stores under the settings' names, checked, because pictures are untrusted.

        held: values of fields without a Setting. Raises SettingsError.
        """
        known = {name: stored[name] for name, setting in cls.settings().items()
                 if stored.get(name) is not None and setting.kind not in ("file", "files")}
        return cls(**known, **held).checked()


def actions(requests: tuple[type[Request], ...]) -> Iterator[tuple[str, type[Request]]]:
    """(action, request class) of each."""
    return ((request.action, request) for request in requests)
