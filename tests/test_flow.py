"""Imports go one way, and the heavy ones wait until they are needed."""

import ast
import re
import subprocess
import sys
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASE = {"core", "core.errors", "core.checks", "core.cache", "core.output", "core.environment"}  # open to all rooms

# room: the rooms it may import, besides itself and BASE
MAY = {
    "core": set(),
    "core.errors": set(),
    "core.cache": set(),
    "core.output": set(),
    "core.checks": set(),
    "core.environment": set(),
    "core.faces": {"core.alignment"},
    "core.faces_v3": {"core.faces", "core.alignment"},  # every version of the renderer shares the attribute table
    "core.alignment": set(),
    "core.kernels": set(),
    "core.sampling": set(),
    "core.reading": set(),
    "core.images": {"core.alignment", "core.reading"},
    "core.metrics": set(),
    "core.clustering": set(),
    "core.data": {"core.faces", "core.faces_v3", "core.images", "core.reading"},
    "core.words": {"core.faces"},  # captions say what the attribute table holds
    "core.models": {"core.kernels", "core.faces"},  # the judge's outputs are named by the attribute table
    "core.hub": {"core.models"},
    "core.features": {"core.hub", "core.images"},
    "core.latent": {"core.models", "core.hub", "core.sampling", "core.words"},
    "core.subjects": {"core.models", "core.hub", "core.words"},
    "core.photos": {"core.hub", "core.images", "core.models", "core.alignment"},
    "core.engine": {"core.models", "core.hub", "core.images", "core.photos", "core.sampling", "core.metrics",
                    "core.reading"},
    "core.systems": {"core.engine", "core.models", "core.kernels", "core.hub", "core.images", "core.photos",
                     "core.sampling", "core.metrics", "core.faces", "core.faces_v3", "core.words", "core.latent",
                     "core.subjects", "core.features", "core.clustering", "core.reading",
                     "core.training"},  # a visitor teaches a new person
    "core.training": {"core.models", "core.kernels", "core.hub", "core.data", "core.metrics", "core.images",
                      "core.sampling", "core.faces", "core.faces_v3", "core.words", "core.latent", "core.subjects",
                      "core.features", "core.clustering", "core.reading"},
    "core.scoring": {"core.systems", "core.engine", "core.models", "core.hub", "core.data", "core.metrics",
                     "core.images", "core.sampling", "core.faces", "core.faces_v3", "core.kernels", "core.words",
                     "core.latent", "core.subjects", "core.features", "core.clustering", "core.training"},
    "core.bench": {"core.faces", "core.models", "core.hub", "core.sampling", "core.words", "core.latent",
                   "core.training"},
    "core.commands": {"core.engine", "core.faces", "core.images", "core.hub", "core.systems", "core.training",
                      "core.scoring", "core.kernels", "core.data", "core.sampling", "core.models", "core.photos",
                      "core.bench", "core.words", "core.latent", "core.subjects", "core.features",
                      "core.clustering", "core.reading"},
    "core.__main__": {"core.commands"},
    "spaces": {"core.systems", "core.engine"},
    "app": {"spaces", "core.systems"},
}
# file: what its room may not import but it may, inside its functions only
LATE = {
    "core.faces.headfile": {"core.hub", "safetensors"},  # checks the file it reads against the manifest
    "core.faces.maps": {"PIL"},  # masks are read when the file is built
    "core.faces.build": {"PIL"},
}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "xformers", "numba", "cv2"}
HUB = {"huggingface_hub", "safetensors"}
ANY = HEAVY | HUB | {"numpy", "PIL", "gradio"}
# room: the libraries it never names
NEVER = {
    "app": HEAVY | HUB,
    "spaces": HEAVY | HUB,
    "core": {"gradio", "spaces", "torchvision"},
    "core.models": {"PIL", "cv2", "pathlib", "os", "json", "numba"} | HUB,
    "core.kernels": {"PIL", "cv2", "pathlib", "json", "numba"} | HUB,
    "core.faces": {"PIL", "torch"} | HUB,
    "core.faces_v3": {"PIL", "torch"} | HUB,
    "core.engine": {"cv2", "safetensors"},
    "core.systems": {"cv2", "safetensors"},
    "core.sampling": {"PIL", "cv2"} | HUB,
}


@cache
def sources() -> tuple[Path, ...]:
    """Every Python file of the project but the tests."""
    return (ROOT / "app.py", *sorted((ROOT / "spaces").rglob("*.py")), *sorted((ROOT / "core").rglob("*.py")))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] == "core" else parts[0]


def imported(path: Path, late: bool = True) -> set[str]:
    """Full names of the modules a file imports, anywhere in it; those for type checkers too.

    late: False leaves out what only its functions import.
    """
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    tree = ast.parse(path.read_text())
    within = {id(node) for outer in ast.walk(tree) if isinstance(outer, (ast.FunctionDef, ast.AsyncFunctionDef))
              for node in ast.walk(outer)}
    names = set()
    for node in (node for node in ast.walk(tree) if late or id(node) not in within):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" if is_module(module, alias.name) else module for alias in node.names}
    return names


def is_module(package: str, name: str) -> bool:
    folder = ROOT / package.replace(".", "/") / name
    return folder.is_dir() or folder.with_suffix(".py").is_file()


def trespasses(room: str, names: set[str]) -> set[str]:
    """The names a room may not import."""
    ours = {name for name in names if name.split(".")[0] in {"app", "core", "spaces", "tests"}}
    closed = {name for name in ours if room_of(name) not in MAY[room] | BASE | {room}}
    never = NEVER.get(room, set()) | (NEVER["core"] if room.startswith("core") else {"torchvision"})
    return closed | {name for name in names - (ours - closed) if name.split(".")[0] in never}


def test_the_table_itself_goes_one_way():
    assert list(TopologicalSorter(MAY).static_order())  # raises CycleError otherwise


def test_every_room_is_in_the_table():
    assert {room_of(module_of(path)) for path in sources()} <= set(MAY)


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_one_way(path: Path):
    module = module_of(path)
    found = trespasses(room_of(module), imported(path))
    allowed = {name for name in found for root in LATE.get(module, ()) if f"{name}.".startswith(f"{root}.")}
    assert found - allowed == set()
    assert allowed & imported(path, late=False) == set()


def loaded_by(*command: str) -> set[str]:
    """Top-level names that a Python command line imports."""
    run = subprocess.run([sys.executable, "-X", "importtime", *command], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    lines = (line for line in run.stderr.splitlines() if line.startswith("import time:"))
    return {line.rsplit("|", 1)[1].strip().split(".")[0] for line in lines}


def test_the_page_opens_before_torch_does():
    assert loaded_by("-c", "import app") & HEAVY == set()


def test_the_first_face_waits_for_nothing_it_does_not_need():
    drawn = "from core import systems; next(systems.load('vectors').people(1, 1))"
    needless = {"sympy", "diffusers", "transformers", "accelerate", "xformers", "pandas", "scipy", "skimage", "numba"}
    assert loaded_by("-c", drawn) & needless == set()       # torch's compiler and its distribution bring sympy


def test_importing_core_imports_nothing():
    assert loaded_by("-c", "import core, core.errors, core.systems") & ANY == set()


def test_the_help_is_quick():
    assert loaded_by("-m", "core", "--help") & ANY == set()


def test_no_tab_takes_a_name_of_the_hubs_own():
    taken = {"config", "gradio", "utils", "zero", "reloading", "_vendor"}
    assert {path.stem for path in (ROOT / "spaces").iterdir()} & taken == set()


def third_party(folder_sources) -> set[str]:
    """Names of the libraries that files import, from the standard library's and our own apart."""
    names = {name.split(".")[0] for path in folder_sources for name in imported(path)}
    return names - set(sys.stdlib_module_names) - {"app", "core", "spaces", "tests"}


def test_the_requirements_name_what_is_imported():
    pinned = set(re.findall(r"^([\w-]+)[=><]", (ROOT / "requirements.txt").read_text(), re.MULTILINE))
    called = {"PIL": "pillow", "cv2": "opencv-python-headless"}
    assert {called.get(name, name) for name in third_party(sources())} <= pinned
