"""The choice of checkpoints: what is said of it, how it is fetched, and that its own networks draw, judge and steer.

Small random networks stand in for the published ones, on a Hub of the test's own.
"""

import subprocess
import sys
import threading
from dataclasses import replace
from io import BytesIO

import hub_place
import numpy as np
import pytest
import torch
from hub_place import ROOT, wait_for
from huggingface_hub import constants

from core import hub, images, models, reading, systems
from core.cache import LRUCache
from core.engine import choices as engine_choices
from core.engine.choices import facts, fetch
from core.engine.result import last
from core.errors import CheckpointError, SettingsError
from core.hub import manifest
from core.metrics import cosine
from core.models import iresnet, sixdrepnet, vec2face
from core.sampling import People
from core.systems import choices, choose
from core.systems.vectors import choices as vectors_choices
from core.systems.vectors.attrop import feature_norm, head_yaw, judged
from core.systems.vectors.steering import readers, wanted

the_server, server, place = hub_place.the_server, hub_place.server, hub_place.place     # the fixtures

TINY, BASE = choices("vectors")
ROWS = {row.name: row for row in hub.rows()}        # of the real manifest
TOYS = {
    "vec2face": (vec2face, vec2face.Vec2FaceConfig(
        width=32, depth=1, heads=2, decoder_width=32, decoder_depth=1, decoder_heads=2, feature=16,
        channels=(8, 8, 8, 16, 16), groups=4, dropout=0.0)),
    "iresnet": (iresnet, iresnet.IResNetConfig(
        stem=16, stem_stride=2, widths=(16, 16, 16, 16), depths=(1, 1, 1, 1), dropout=0.0)),
    "sixdrepnet": (sixdrepnet, sixdrepnet.SixDRepNetConfig(
        stem=4, widths=(4, 6, 8, 10), depths=(1, 2, 2, 1), groups=2)),
}


def features(count: int = 40) -> np.ndarray:
    """Features of people: (count, 512)."""
    return np.random.default_rng(3).standard_normal((count, 512)).astype(np.float32)


def saved(array: np.ndarray, **options) -> bytes:
    np.save(stream := BytesIO(), array, **options)
    return stream.getvalue()


def stand_in(row: manifest.Row, seed: int) -> bytes:
    """A file with small random contents in the dress of a published one."""
    if row.network is None:
        return saved(features())
    torch.manual_seed(seed)
    state = models.build(row.network, "toy").state_dict()
    torch.save({row.wrapper_key: state} if row.wrapper_key else state, stream := BytesIO())
    return stream.getvalue()


@pytest.fixture
def published(place, server, monkeypatch):
    """The published choice's rows, with stand-ins behind them; nothing is fetched yet."""
    for network, (module, config) in TOYS.items():
        monkeypatch.setitem(module.PRESETS, "toy", config)
        assert models.NETWORKS[network].presets["toy"] is config
    for seed, name in enumerate(BASE.files() + BASE.files(extra=True)):
        row = ROWS[name]
        digest = server.put(row.repo, row.file, stand_in(row, seed), large=True)
        manifest.put(replace(row, preset=row.network and "toy", sha256=digest, bytes=None, revision=None),
                     manifest.CHECKPOINTS)
    monkeypatch.setattr(systems, "_pipelines", LRUCache(9))
    yield server
    server.fault = None
    wait_for(no_fetch_runs)                            # while the Hub is still the test's own


def no_fetch_runs() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name == "fetch"]


@pytest.fixture
def system(published):
    """The pipeline with the stand-ins; what reads yaw and quality is not fetched yet."""
    last(fetch(BASE, agree=True))
    return systems.load("vectors", "base")


# ------------------------------------------------------------------------------------------------------- the choices

def test_the_first_choice_ships_and_the_published_one_does_not():
    for choice, origin in ((TINY, "shipped"), (BASE, "hub")):
        for name in choice.files() + choice.files(extra=True):
            assert ROWS[name].origin == origin


@pytest.mark.parametrize("choice", [TINY, BASE], ids=lambda choice: choice.name)
def test_a_choice_names_networks_of_the_right_kind(choice):
    networks = [ROWS[name].network for name in (choice.generator, choice.embedder, choice.people)]
    assert networks == ["vec2face", "iresnet", None]
    assert ROWS[choice.yaw_reader].network in ("judge", "sixdrepnet")
    assert ROWS[choice.quality_reader].network in ("judge", "iresnet")


def test_none_is_the_one_that_ships():
    assert choose("vectors") is choose("vectors", "tiny") is TINY
    assert systems.load("vectors") is systems.load("vectors", "tiny")
    assert systems.load("vectors").choice is TINY


@pytest.mark.parametrize("name", ["huge", "", 7, "x" * 999])
def test_an_unknown_choice_lists_the_known(name):
    for made in (choose, systems.load, systems.make):
        with pytest.raises(SettingsError, match="Choose from: tiny, base") as error:
            made("vectors", name)
        assert len(error.value.message) < 100


def test_an_unknown_system_lists_the_known():
    with pytest.raises(SettingsError, match="Choose from: vectors"):
        choices("portraits")


def test_another_choice_does_not_wait(published, monkeypatch):
    """While one loads its gigabytes, who draws with the other is served."""
    begun, go = threading.Event(), threading.Event()

    def make(system, name):
        if name == "base":
            begun.set()
            go.wait(60)
        return name

    monkeypatch.setattr(systems, "make", make)
    slow = threading.Thread(target=systems.load, args=("vectors", "base"))
    slow.start()
    try:
        assert begun.wait(60)
        assert systems.load("vectors") == "tiny"
        assert set(systems._pipelines.values()) == {"tiny"}
    finally:
        go.set()
        slow.join(60)
    assert set(systems._pipelines.values()) == {"tiny", "base"}


# --------------------------------------------------------------------------------------------------------- the facts

def test_what_is_said_of_the_one_that_ships():
    found = facts(TINY)
    assert found.ready and not found.missing
    assert found.names == ("vectors-tiny", "embedder-tiny", "vectors-people-tiny")
    assert found.bytes == sum(ROWS[name].bytes for name in found.names)
    assert found.size == f"{found.bytes / 1e6:.1f} MB"
    assert (found.licences, found.agreements) == (("Apache-2.0",), ())
    assert facts(TINY, extra=True).names == ("judge-tiny",)


def test_what_is_said_of_the_published_one(tmp_path, monkeypatch):
    """From the real manifest, on a machine that has fetched nothing."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("FACET_CACHE", str(tmp_path))
    draws, steers = facts(BASE), facts(BASE, extra=True)
    assert draws.missing == draws.names == ("vec2face-base", "arcface-r100", "vec2face-people")
    assert steers.missing == steers.names == ("6drepnet", "magface-r100")
    assert not draws.ready and not steers.ready
    assert draws.bytes is None and draws.size == "about 978 MB"          # two of its files are known roughly
    assert steers.bytes == 157315191 + 261202823 and steers.size == "418.5 MB"
    assert set(draws.licences) == set(steers.licences) == {"MIT", "non-commercial research"}
    for found in (draws, steers):
        assert len(found.agreements) == 1 and "non-commercial" in found.agreements[0]


def test_the_same_terms_are_said_once(published):
    twice = replace(BASE, people="magface-r100")
    assert len(facts(twice).agreements) == 1


def test_facts_follow_what_was_fetched(published):
    last(fetch(BASE, agree=True))
    found = facts(BASE)
    assert found.ready and found.agreements == ()
    assert found.bytes == sum(hub.place(hub.row(name)).stat().st_size for name in found.names)
    assert not facts(BASE, extra=True).ready


# ---------------------------------------------------------------------------------------------- nothing comes silently

def test_a_choice_that_is_not_here_says_how_to_get_it(published):
    for made in (systems.load, systems.make):
        with pytest.raises(CheckpointError, match="vec2face-base, arcface-r100, vec2face-people are") as error:
            made("vectors", "base")
        assert "python -m core fetch vec2face-base arcface-r100 vec2face-people" in error.value.next_step
    with pytest.raises(CheckpointError):
        vectors_choices.people(BASE)
    assert published.log == []


def test_a_shipped_file_that_is_missing_is_brought_back_by_git(place):
    for name in TINY.files():
        manifest.put(ROWS[name], manifest.CHECKPOINTS)
    with pytest.raises(CheckpointError, match="is missing") as error:
        systems.make("vectors")
    assert "git restore" in error.value.next_step


@pytest.mark.parametrize(("steering", "name"), [(False, "arcface-r100"), (True, "magface-r100")])
def test_nothing_is_fetched_without_agreement(published, steering, name):
    """Not even the files that are free: it is refused before anything is asked for."""
    with pytest.raises(CheckpointError, match=f"{name} .*non-commercial") as error:
        fetch(BASE, extra=steering)
    assert f"python -m core fetch {name} --yes-i-agree" in error.value.next_step
    assert published.log == []


def test_agreement_is_needed_once(published):
    last(fetch(BASE, agree=True))
    asked = list(published.log)
    assert last(fetch(BASE))[0] == 1
    assert published.log == asked


def test_nothing_is_asked_of_the_hub_before_somebody_listens(published):
    fetch(BASE, agree=True).close()
    fetch(BASE, agree=True)
    assert published.log == []


def test_steering_needs_its_readers(system, published):
    asked = list(published.log)
    with pytest.raises(CheckpointError, match="can't steer before 6drepnet, magface-r100 are") as error:
        system.steer(system.vector(features()[0]), yaw=10)
    assert "python -m core fetch 6drepnet magface-r100" in error.value.next_step
    with pytest.raises(CheckpointError):
        readers(BASE, "cpu")
    assert published.log == asked


# ---------------------------------------------------------------------------------------------------------- fetching

@pytest.mark.parametrize("steering", [False, True])
def test_fetching_brings_these_files_and_no_others(published, steering, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 65536)
    news = list(fetch(BASE, agree=True, extra=steering))
    fractions = [fraction for fraction, _ in news]
    assert fractions == sorted(fractions) and fractions[0] == 0 and fractions[-1] == 1
    text = " ".join(said for _, said in news)
    assert all(name in text for name in BASE.files(steering))
    assert "MB" in text
    assert facts(BASE, steering).ready and not facts(BASE, not steering).ready
    wanted = {ROWS[name].file for name in BASE.files(steering)}
    assert {path.split("/resolve/")[1].split("/", 1)[1] for _, path, _ in published.log} == wanted


@pytest.mark.parametrize(("fault", "said"), [("gone", "does not exist"), ("gated", "is gated"),
                                             ("wrong", "thrown away")])
def test_what_goes_wrong_is_the_hubs_own_error(published, fault, said):
    published.fault = fault
    with pytest.raises(CheckpointError, match=said) as error:
        list(fetch(BASE, agree=True))
    assert "python -m core fetch vec2face-base" in error.value.next_step


def test_offline_is_said(published, monkeypatch):
    monkeypatch.setenv("FACET_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="offline"):
        list(fetch(BASE, agree=True))
    assert published.log == []


def test_a_fetch_that_stalls_can_be_stopped(published, monkeypatch):
    monkeypatch.setattr(engine_choices, "HEARTBEAT_S", 0.05)
    published.fault = "stall"
    news = fetch(BASE, agree=True)
    heard = [next(news) for _ in range(6)]
    assert len(set(heard)) < len(heard)                 # the old again, while there is nothing new
    news.close()                                        # returns, although the Hub never answers
    with pytest.raises(StopIteration):
        next(news)


def test_stopping_ends_the_download(published, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)
    published.fault = "slow"
    news = fetch(BASE, agree=True)
    next(fraction for fraction, _ in news if fraction > 0)
    news.close()
    wait_for(no_fetch_runs)
    assert hub.place(hub.row("vec2face-base")) is None
    assert not any("arcface" in path for _, path, _ in published.log)
    published.fault = None
    assert last(fetch(BASE, agree=True))[0] == 1        # and it can be fetched after all


def test_a_bar_never_goes_back():
    """A connection that is reset begins its file again."""
    def work(tell):
        for fraction in (0.1, 0.6, 0.2, 1.0):
            tell(fraction, str(fraction))

    assert list(engine_choices._progress_of(work)) == [(0.1, "0.1"), (0.6, "0.6"), (0.6, "0.2"), (1.0, "1.0")]


def test_any_error_comes_out_of_the_thread():
    def work(tell):
        tell(0.5, "half")
        raise KeyError("weights")

    news = engine_choices._progress_of(work)
    assert next(news) == (0.5, "half")
    with pytest.raises(KeyError, match="weights"):
        next(news)


# ----------------------------------------------------------------------------------------------- drawing and steering

def test_the_published_networks_draw(system):
    assert system.generator is hub.load("vec2face-base") and system.embedder is hub.load("arcface-r100")
    assert systems.load("vectors", "base") is system
    vector = features()[1]
    result = last(system.variations(*system.vector(vector), sigma=0.5, count=2, seed=5))
    for path, alike in zip(result.images, result.scores["similarity"], strict=True):
        with torch.inference_mode():
            seen = hub.load("arcface-r100")(images.to_tensor([reading.read(path)]))[0].numpy()
        assert float(cosine(seen, vector)) == pytest.approx(alike, abs=1e-3)


def test_a_picture_names_the_published_networks(system):
    kept = images.settings_of(last(system.people(seed=1, count=1, threshold=1)).images[0])
    assert (kept["checkpoint"], kept["embedder"], kept["people"]) == BASE.files()
    assert kept["sha256"] == hub.row("vec2face-base").sha256
    assert kept["embedder_sha256"] == hub.row("arcface-r100").sha256


def test_people_come_from_the_published_features(system):
    there, fitted = People.fit(torch.from_numpy(features())), system._people
    for name in ("mean", "components", "sd", "norm"):
        assert torch.equal(getattr(fitted, name), getattr(there, name))


def test_the_published_readers_steer(system, monkeypatch):
    last(fetch(BASE, agree=True, extra=True))
    asked, load = [], hub.load
    monkeypatch.setattr(hub, "load", lambda name, *rest: asked.append(name) or load(name, *rest))
    result = last(system.steer(system.vector(features()[2]), yaw=30, quality=27, limit=1, similarity=-1))
    assert asked == ["6drepnet", "magface-r100"]
    picture = system.generator(torch.from_numpy(result.vectors)).clamp(-1, 1)
    assert result.scores["yaw"][0] == pytest.approx(head_yaw(load("6drepnet"))(picture).item(), abs=0.01)
    assert result.scores["quality"][0] == pytest.approx(load("magface-r100")(picture).norm().item(), rel=1e-3)
    kept = images.settings_of(result.images[0])
    assert kept["judge"] == "6drepnet, magface-r100"
    assert kept["judge_sha256"] == ", ".join(hub.row(name).sha256 for name in ("6drepnet", "magface-r100"))
    assert kept["quality_target"] == 27


def test_each_choice_reads_with_its_own_networks(published):
    last(fetch(BASE, agree=True, extra=True))
    pictures = torch.rand(2, 3, 112, 112) * 2 - 1
    yaw, quality = readers(BASE, "cpu")
    assert torch.equal(yaw(pictures), head_yaw(hub.load("6drepnet", "cpu"))(pictures))
    assert torch.equal(quality(pictures), feature_norm(hub.load("magface-r100", "cpu"))(pictures))


def test_the_one_that_ships_reads_with_its_judge():
    pictures = torch.rand(2, 3, 112, 112) * 2 - 1
    for ours, judges in zip(readers(TINY, "cpu"), judged(hub.load("judge-tiny", "cpu")), strict=True):
        assert torch.equal(ours(pictures), judges(pictures))


@pytest.mark.parametrize(("choice", "most", "tolerance", "weight"), [(TINY, 1, 0.02, 50), (BASE, 60, 1, 1)],
                         ids=["tiny", "base"])
def test_quality_is_counted_as_its_reader_counts(choice, most, tolerance, weight):
    targets = wanted(None, choice.quality.usual, 0.6, choice)
    assert (targets.quality_tolerance, targets.quality_weight) == (tolerance, weight)
    assert wanted(None, most, 0.6, choice).quality == most
    for quality in (most * 1.01, -0.1, float("nan")):
        with pytest.raises(SettingsError, match=f"from 0 to {most}"):
            wanted(None, quality, 0.6, choice)


def test_yaw_is_as_near_as_its_reader_can_tell():
    assert [wanted(30, None, 0.6, choice).yaw_tolerance for choice in (TINY, BASE)] == [0.5, 5]


def test_the_published_one_keeps_to_the_papers_likeness():
    """Identity loss 0.3 at most, and a pull that never ends; ours lets go where a face is like enough."""
    papers, ours = (wanted(30, None, None, choice) for choice in (BASE, TINY))
    assert (papers.similarity, papers.pull_to) == (0.7, None)
    assert (ours.similarity, ours.pull_to) == (0.6, pytest.approx(0.65))
    assert wanted(30, None, 0.2, BASE).similarity == 0.2 and wanted(30, None, 0.2, TINY).pull_to == pytest.approx(0.25)


def test_the_usual_quality_of_the_published_one_is_the_papers():
    assert (BASE.quality.usual, TINY.quality.usual) == (27, 0.7)


# ------------------------------------------------------------------------------------------------------------ people

BAD = {
    "short": lambda: saved(np.ones((9, 511), np.float32)), "flat": lambda: saved(features()[0]),
    "whole numbers": lambda: saved(np.ones((9, 512), np.int64)), "one": lambda: saved(features(1)),
    "none": lambda: saved(np.ones((0, 512), np.float32)),
    "the same": lambda: saved(np.ones((9, 512), np.float32)), "not finite": lambda: saved(features() * np.inf),
    "objects": lambda: saved(np.array([[{}] * 512] * 3), allow_pickle=True), "cut": lambda: saved(features())[:9000],
    "text": lambda: b"hello", "empty": lambda: b"",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_file_that_holds_no_people_is_refused(kind, tmp_path):
    path = tmp_path / "people.npy"
    path.write_bytes(BAD[kind]())
    with pytest.raises(CheckpointError, match=r"people\.npy does not hold the features of people") as error:
        vectors_choices.fitted(path, ROWS["vec2face-people"])
    assert "\n" not in error.value.message
    assert error.value.next_step.endswith("python -m core fetch vec2face-people")


def test_an_archive_is_no_list_of_people(tmp_path):
    np.savez(tmp_path / "people.npz", features())
    with pytest.raises(CheckpointError):
        vectors_choices.fitted(tmp_path / "people.npz", ROWS["vec2face-people"])


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_other_precisions_are_taken(tmp_path, kind):
    (tmp_path / "people.npy").write_bytes(saved(features().astype(kind)))
    people = vectors_choices.fitted(tmp_path / "people.npy", ROWS["vec2face-people"])
    assert people.mean.dtype == torch.float32
    assert np.allclose(people.mean, features().mean(0), atol=1e-2)


def test_of_very_many_people_some_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(vectors_choices, "FITTED", 10)
    (tmp_path / "people.npy").write_bytes(saved(features(25)))
    people = vectors_choices.fitted(tmp_path / "people.npy", ROWS["vec2face-people"])
    assert torch.equal(people.mean, People.fit(torch.from_numpy(features(25)[::3])).mean)


def test_importing_the_choices_is_cheap():
    code = ("import sys, core.engine.choices; "
            "print({'torch', 'numpy', 'PIL', 'safetensors', 'huggingface_hub', 'gradio'} & set(sys.modules))")
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "set()"
