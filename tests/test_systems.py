"""The contract of every system: an action gives the same by Python, endpoint and command; it refuses in sentences."""

import contextlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from core import images, systems
from core.commands.run import run
from core.engine.result import last
from core.errors import FacetError, SettingsError

SMALL = {"vectors": {"count": 2, "seed": 7}, "aging": {"steps": 2, "seed": 7},      # so that a request takes little
         "attributes": {"count": 2, "seed": 7}, "clusters": {"k": 4, "count": 2, "seed": 7}}
DRAWN = [(name, request) for name, row in systems.SYSTEMS.items() for request in row.requests if request.draws]
ALL = [request for row in systems.SYSTEMS.values() for request in row.requests]


def small(request: type, **changes) -> dict:
    """Settings that make a request quick, and that it has."""
    wanted = SMALL[request.system] | {"limit": 1, **changes}
    return {name: value for name, value in wanted.items() if name in request.settings()}


def pixels(path: str | Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def client(shared_app) -> Client:
    return Client(shared_app, verbose=False)


@pytest.fixture(scope="module")
def made() -> dict:
    """The last result of each action, drawn once."""
    return {}


def result_of(made: dict, request: type):
    if request not in made:
        made[request] = last(systems.load(request.system).run(request(**small(request))))
    return made[request]


class ActionContract:
    """What every action of every system promises; a subclass says which, and has the fixtures `client` and `made`."""

    def test_results_grow_to_what_was_asked(self, made, system, request_):
        results = list(systems.load(system).run(request_(**small(request_))))
        steps = [result.step for result in results]
        assert steps == sorted(steps) and steps[-1] <= results[-1].steps
        end = results[-1]
        assert len(end.images) == len(end.seeds) == len(end.settings) == end.total and end.previews == ()
        assert all(len(values) == end.total for values in end.scores.values())
        made[request_] = end

    def test_a_picture_carries_its_settings_and_the_mark(self, made, system, request_):
        end = result_of(made, request_)
        for path, kept in zip(end.images, end.settings, strict=True):
            assert images.settings_of(path) == kept and kept["system"] == system
            assert images.AI_MADE.encode() in Path(path).read_bytes()

    def test_a_picture_brings_its_request_back(self, made, system, request_):
        end, pipeline = result_of(made, request_), systems.load(system)
        kept = pipeline.restored(end.images[0])
        again = last(pipeline.run(kept.request))
        assert kept.checkpoint == systems.choose(system).name
        assert abs(pixels(again.images[0]) - pixels(end.images[0])).max() <= 1
        assert images.settings_of(again.images[0]).keys() == end.settings[0].keys()

    def test_an_endpoint_gives_the_same_pictures(self, made, client, system, request_):
        end = result_of(made, request_)
        tiles, facts, progress, files = client.predict(**small(request_), api_name=f"/{system}_{request_.action}")
        assert [kept["seed"] for kept in facts] == [*end.seeds] and progress["total"] == end.total
        for tile, path in zip(tiles, end.images, strict=True):
            assert abs(pixels(tile["image"]) - pixels(path)).max() <= 1
        assert "settings.json" in zipfile.ZipFile(next(path for path in files if path.endswith(".zip"))).namelist()
        kept = client.predict(handle_file(tiles[0]["image"]), api_name=f"/{system}_restore")
        assert kept["seed"] == end.seeds[0] or "move" in facts[0]

    def test_a_command_gives_the_same_pictures(self, made, tmp_path, system, request_):
        end = result_of(made, request_)
        options = [word for name, value in small(request_).items() for word in (f"--{name}", str(value))]
        done = CliRunner().invoke(run, [system, request_.action, *options, "--out", str(tmp_path)])
        assert done.exit_code == 0, done.output
        for path in end.images:
            assert abs(pixels(tmp_path / Path(path).name) - pixels(path)).max() <= 1

    def test_an_endpoint_and_a_command_have_every_setting_and_the_checkpoint(self, client, system, request_):
        api = client.view_api(return_format="dict")["named_endpoints"][f"/{system}_{request_.action}"]
        defaults = {each["parameter_name"]: each.get("parameter_default") for each in api["parameters"]}
        assert defaults == {name: setting.default for name, setting in request_.settings().items()} | {
            "checkpoint": systems.choose(system).name}
        said = CliRunner().invoke(run, [system, request_.action, "--help"], env={"COLUMNS": "300"}).output
        assert all(f"--{name.replace('_', '-')}" in said for name in (*request_.settings(), "checkpoint"))

    def test_closing_stops(self, system, request_):
        results = systems.load(system).run(request_(**small(request_, count=12)))
        next(results)
        results.close()
        with pytest.raises(StopIteration):
            next(results)

    def test_a_checkpoint_that_is_not_here_is_one_sentence(self, client, system, request_):
        for checkpoint, said in (("magic", "no checkpoint choice called"),
                                 (systems.choices(system)[1].name, "on this machine")):
            with pytest.raises(Exception, match=said) as error:
                client.predict(checkpoint=checkpoint, api_name=f"/{system}_{request_.action}")
            assert "Traceback" not in str(error.value)


@pytest.mark.parametrize(("system", "request_"), DRAWN, ids=[f"{name}-{each.action}" for name, each in DRAWN])
class TestAction(ActionContract):
    pass


WRONG = {"whole": [float("nan"), True, "many", 1.5, 10**40, -7], "number": [float("nan"), True, "much", float("inf")],
         "choice": ["magic", 3], "flag": ["yes", 1], "text": [7, "x" * 10_000], "seed": [-5, 99_999_999_999, 1.5, True],
         "file": [7], "files": ["one", [7]]}


class RequestContract:
    """What the settings of every action promise."""

    def test_every_wrong_value_is_refused_with_the_arguments_name(self, request_):
        for name, setting in request_.settings().items():
            for value in WRONG[setting.kind]:
                with pytest.raises(SettingsError) as error:
                    request_(**{name: value}).checked()
                assert error.value.message.startswith(f"{name} can't be "), (name, value)
                assert error.value.next_step.endswith(".")

    def test_defaults_are_fine_and_seeds_are_chosen(self, request_):
        asked = request_().checked()
        assert all(getattr(asked, name) == setting.default for name, setting in request_.settings().items()
                   if setting.kind != "seed" and setting.default is not None)
        assert 0 <= asked.seed < 2**32 and asked.checked() == asked

    def test_every_setting_is_explained(self, request_):
        assert len(request_.help()) > 40
        for name, setting in request_.settings().items():
            assert name.isidentifier() and len(setting.help) > 4 and setting.label, name


@pytest.mark.parametrize("request_", ALL, ids=[f"{each.system}-{each.action}" for each in ALL])
class TestRequest(RequestContract):
    pass


@given(stored=st.dictionaries(st.sampled_from(["source", "count", "seed", "sigma", "vector", "move", "steps", "prompt",
                                               "missed", "walk_from", "offsets", "person", "solver", "floor", "k",
                                               "group", "faces_of", "action"]),
                              st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
                              | st.just({"7": "x"})))
@settings(max_examples=200, deadline=None)
def test_a_strangers_picture_is_a_request_or_a_sentence(stored):
    from core.systems.aging import request as aging
    from core.systems.clusters import request as clusters
    from core.systems.vectors import request as vectors

    for restored in (vectors.restored, clusters.restored, lambda kept: aging.restored(kept, None)):
        with contextlib.suppress(FacetError):
            restored(stored).checked()
