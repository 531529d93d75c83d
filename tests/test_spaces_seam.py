"""The folder `spaces/` and the Hub's distribution of that name live together, whoever is imported first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOME, SPACE = {}, {"SYSTEM": "spaces", "SPACE_ID": "a/b"}
OURS_FIRST, GRADIO_FIRST = "import spaces, gradio", "import gradio, spaces"
WITHOUT = "import pkgutil; pkgutil.extend_path = lambda path, name: path"    # as if the distribution were not installed


def python(*lines: str, **env: str) -> str:
    """Run lines in a new process from the project's folder; returns what they print."""
    bare = {name: value for name, value in os.environ.items() if name not in ("SYSTEM", "SPACE_ID")}
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True,
                          env=bare | {"GRADIO_ANALYTICS_ENABLED": "False"} | env)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize(("order", "env"), [(OURS_FIRST, HOME), (GRADIO_FIRST, SPACE)], ids=["home", "space"])
def test_both_names_are_one_package(order, env):
    said = python(order, "print(spaces.GPU.__module__, spaces.gradio_auto_wrap.__module__, spaces.__file__)",
                  "with gradio.Blocks(): gradio.Button().click(lambda: None)", **env)
    assert said.split() == ["spaces.zero.decorator", "spaces.gradio", str(ROOT / "spaces" / "__init__.py")]


def test_without_the_distribution_the_names_do_nothing():
    said = python(WITHOUT, "import spaces", "work = lambda: 7",
                  "print(spaces.GPU(work) is work, spaces.GPU(duration=9)(work) is work)",
                  "print(spaces.gradio_auto_wrap(work) is work)",
                  "print(spaces.enable_gradio_auto_wrap(), spaces.disable_gradio_auto_wrap())")
    assert said.split() == ["True", "True", "True", "None", "None"]


def test_a_failure_inside_the_distribution_is_heard():
    said = python("import sys, spaces", "class Broken:",
                  "    def find_spec(self, name, path, target=None):",
                  "        if name == 'spaces.zero': raise ModuleNotFoundError(name='psutil')",
                  "sys.meta_path.insert(0, Broken())",
                  "try: spaces.GPU", "except ModuleNotFoundError as error: print(error.name)")
    assert said.split() == ["psutil"]


def test_importing_the_folder_imports_nothing_heavy_and_an_unknown_name_is_an_attribute_error():
    said = python("import sys, spaces", "print({'gradio', 'torch', 'spaces.zero'} & set(sys.modules))",
                  "print(hasattr(spaces, 'TPU'), hasattr(spaces, 'GPU'))")
    assert said.split() == ["set()", "False", "True"]


def test_the_page_is_built_on_a_space_without_the_distribution():
    assert python(WITHOUT, "import app", "print(len(app.page().fns) > 20)", **SPACE).strip() == "True"
