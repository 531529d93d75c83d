"""A picture in the making: one mesh of everything solid, its light, its surfaces, then strands and lenses over it."""

from dataclasses import dataclass

import numpy as np

from core.faces import light, raster, skin
from core.faces.accessories import GLOSS, ROUGH, Lens, Part, sphere
from core.faces.attributes import REGIONS
from core.faces.camera import Camera
from core.faces.eyes import gaze_frames, iris_angle, lid_shade, shade_eyes
from core.faces.head import Head
from core.faces.looks import Face
from core.faces.maps import MAP_LEFT, MAP_SCALE, MAP_TOP, MAPS
from core.faces.shape import Shape
from core.faces.strands import Strands, shade_strands
from core.faces.template import noise

_SKIN, _UPPER_TEETH, _LOWER_TEETH, _TONGUE, _CLOTH, _EYE, _PART = 0, 2, 3, 4, 6, 10, 20
_MANY = 600  # strands of a group that is lit and casts shadows one by one


@dataclass
class Scene:
    """The meshes of one picture in the posed world, and where they are seen.

    points, normals (N, 3); triangles (T, 3); material (T,); template (N, 3) and cloth (N,) per vertex.
    """

    points: np.ndarray
    normals: np.ndarray
    triangles: np.ndarray
    material: np.ndarray
    template: np.ndarray
    cloth: np.ndarray


def assemble(head: Head, shape: Shape, parts: list[Part]) -> Scene:
    """One mesh of head, eyeballs and accessories."""
    ball, ball_triangles = sphere()
    points, normals, triangles, material = [shape.posed], [shape.posed_normals], [head.triangles], [head.part]
    eyes = shape.eyes @ shape.turn.T
    for k in range(2):
        points.append(ball * np.float32(shape.eye_radius[k] * 0.985) + eyes[k].astype(np.float32))
        normals.append(ball)
        triangles.append(ball_triangles)
        material.append(np.full(len(ball_triangles), _EYE + k))
    for k, part in enumerate(parts):
        posed = (part.points @ shape.turn.T).astype(np.float32)
        points.append(posed)
        normals.append(raster.vertex_normals(posed, part.triangles))
        triangles.append(part.triangles)
        material.append(np.full(len(part.triangles), _PART + k))
    starts = np.cumsum([0] + [len(p) for p in points[:-1]])
    extra = sum(len(p) for p in points[1:])
    return Scene(np.concatenate(points), np.concatenate(normals),
                 np.concatenate([t + start for t, start in zip(triangles, starts, strict=True)]).astype(np.int32),
                 np.concatenate(material), np.pad(head.fine_template, ((0, extra), (0, 0))),
                 np.pad(shape.cloth, (0, extra)))


class Lighting:
    """What the vertices and the strands of a scene see of the surroundings and the lamp."""

    def __init__(self, head: Head, shape: Shape, scene: Scene, strands: list[Strands], lamp: light.Lamp):
        centre = shape.face_centre + np.array([0, 0.1, -0.5])
        many = [group for group in strands if len(group.points) > _MANY]
        self._stops = {id(g): sorted({0, g.points.shape[1] // 2, g.points.shape[1] - 1})
                       for g in many}
        some = [_flat(group.points[:, self._stops[id(group)]]) for group in many]
        first = len(shape.posed)
        coarse = np.concatenate([shape.posed_coarse, scene.points[first:]])
        coarse_normals = raster.vertex_normals(shape.posed_coarse, head.coarse_triangles)
        ahead = len(shape.posed_coarse) - first
        triangles = np.concatenate([head.coarse_triangles, scene.triangles[len(head.triangles):] + ahead])
        loose = [_flat(group.points[::3, 1:]) for group in many] or [np.zeros((0, 3), np.float32)]
        received, openness, hair = light.surroundings(
            lamp, centre, (coarse, np.concatenate([coarse_normals, scene.normals[first:]])), some, coarse,
            triangles.astype(np.int32), np.concatenate(loose))
        both = np.concatenate([received, openness[:, None]], 1)
        rest = len(shape.posed_coarse)
        self.vertices = np.concatenate([head.subdivide(both[:rest]), both[rest:]])  # (N, 4): light, openness
        self._strands = {id(group): sums for group, sums in zip(many, hair, strict=True)}
        casting = [_flat(group.points[:, 1:]) for group in many] or [np.zeros((0, 3), np.float32)]
        self.shadow = light.LampShadow(lamp, centre, scene.points, scene.triangles, np.concatenate(casting))
        self._ambient = np.array([0.55, 0.57, 0.6]) * lamp.ambient

    def strand_light(self, group: Strands) -> np.ndarray:
        """Light from the surroundings along strands: (S, n, 3)."""
        count, n = group.points.shape[:2]
        if id(group) not in self._strands:
            return np.broadcast_to(self._ambient, (count, n, 3)).astype(np.float32)
        stops = self._stops[id(group)]
        spread = np.array([np.interp(np.arange(n), stops, row) for row in np.eye(len(stops))], np.float32).T
        return spread @ self._strands[id(group)].reshape(count, len(stops), 3)

    def strand_shadow(self, group: Strands) -> np.ndarray:
        """Share of the lamp along strands: (S, n)."""
        return self.shadow.visibility(_flat(group.points), 0.06, 3, 1.5).reshape(group.points.shape[:2])


def _flat(points: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(points.reshape(-1, 3).astype(np.float32))


class Picture:
    """A picture being made: linear light in `image` (S, S, 3), and what covers each pixel."""

    def __init__(self, face: Face, camera: Camera, scene: Scene, size: int):
        self.face, self.camera, self.scene, self.size = face, camera, scene, size
        self.nearness = np.zeros((size, size), np.float32)
        self._hit, self._corners = np.full((size, size), -1, np.int32), np.zeros((size, size, 2), np.float32)
        raster.raster(camera.project(scene.points), scene.triangles, self.nearness, self._hit, self._corners)
        self.image = _backdrop(face, size)
        self._covers = {kind: np.zeros((size, size), np.float32) for kind in ("hair", "brows", "beard", "eyes")}
        self._labels = np.zeros((size, size), np.uint8)

    def surfaces(self, head: Head, shape: Shape, parts: list[Part], lit: Lighting, lamp: light.Lamp) -> None:
        """Shade every pixel that a triangle covers."""
        scene, camera = self.scene, self.camera
        rows, columns = np.nonzero(self._hit >= 0)
        pixels = np.stack([rows, columns], 1).astype(np.int32)
        values = np.concatenate([scene.points, scene.normals, lit.vertices, scene.template, scene.cloth[:, None]], 1,
                                dtype=np.float32)
        at = np.empty((len(pixels), values.shape[1]), np.float32)
        raster.interpolate(self._hit, self._corners, pixels, scene.triangles, values, at)
        where, normal, received, openness = at[:, :3], at[:, 3:6], at[:, 6:9], at[:, 9]
        normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9)
        template, cloth = np.ascontiguousarray(at[:, 10:13]), at[:, 13]
        hit = self._hit[rows, columns]
        material = scene.material[hit]
        material = np.where((material == _SKIN) & (cloth > 0.5), _CLOTH, material)
        place = np.full((self.size, self.size), -1, np.int32)
        place[rows, columns] = np.arange(len(pixels))
        uv = np.empty((len(pixels), 2), np.float32)
        raster.interpolate_uv(self._hit, self._corners, pixels, head.uv, uv)
        is_skin = material == _SKIN
        maps = np.zeros((len(pixels), len(MAPS)), np.float32)
        raster.sample_maps(head.maps, uv, is_skin & (uv[:, 0] > MAP_LEFT), MAP_LEFT, MAP_TOP, MAP_SCALE, maps)
        mouth = is_skin & (uv[:, 1] < 0.125) & (uv[:, 0] > 0.7)
        albedo, relief, gloss, rough = self._paint(shape, parts, material, maps, template, cloth, where, mouth)
        seen = lit.shadow.visibility(where + normal * 0.02, 0.035, 8, 3.2)
        bumped, diffuse, specular = np.empty_like(normal), np.empty_like(normal), np.empty_like(normal)
        light.bump(place, pixels, where, normal, relief, bumped)
        light.reflect(where, normal, bumped, received, openness, seen, camera.position, lamp.direction, lamp.colour,
                      lamp.fill_direction, lamp.fill_colour, gloss, rough, diffuse, specular)
        self._inside_mouth(material, mouth, template, lamp, diffuse, specular)
        soft = is_skin & ~mouth
        diffuse[soft] = _scattered(diffuse[soft], rows[soft], columns[soft], self.size, camera.per_unit)
        colour = albedo * diffuse + specular
        eyes = np.flatnonzero((material == _EYE) | (material == _EYE + 1))
        if len(eyes):
            shade = np.ones(len(pixels), np.float32)
            lid_shade(place, pixels, material >= _EYE, camera.per_unit, shade)
            out = np.empty((len(eyes), 3), np.float32)
            shade_eyes(where[eyes], (material[eyes] - _EYE).astype(np.int64), received[eyes], seen[eyes], shade[eyes],
                       camera.position, lamp.direction, lamp.colour, gaze_frames(self.face, shape.turn),
                       shape.eyes @ shape.turn.T, shape.eye_radius, np.array(self.face.identity.iris),
                       iris_angle(self.face, float(shape.eye_radius.mean())), out)
            colour[eyes] = out
        self.image[rows, columns] = colour
        self._labels[rows, columns] = self._surface_labels(material, maps, template, parts)

    def _paint(self, shape, parts, material, maps, template, cloth, where, mouth):
        """Albedo (P, 3), relief, gloss and roughness (P,) of all surface pixels."""
        count, face = len(material), self.face
        albedo, relief = np.full((count, 3), 0.5, np.float32), np.zeros(count, np.float32)
        gloss, rough = np.ones(count, np.float32), np.full(count, 0.5, np.float32)
        rows = np.flatnonzero(material == _SKIN)
        albedo[rows], relief[rows], gloss[rows], rough[rows] = skin.paint(face, shape, maps[rows], template[rows])
        albedo[mouth] = (0.30, 0.07, 0.06)
        rows = np.flatnonzero(material == _CLOTH)
        albedo[rows], relief[rows] = _fabric(face, template[rows], cloth[rows])
        gloss[rows], rough[rows] = 0.15, 0.8
        rows = np.flatnonzero((material == _UPPER_TEETH) | (material == _LOWER_TEETH))
        albedo[rows], gloss[rows], rough[rows] = _teeth(face.look.age, template[rows]), 1.6, 0.28
        rows = np.flatnonzero(material == _TONGUE)
        albedo[rows], gloss[rows], rough[rows] = (0.42, 0.13, 0.11), 1.2, 0.35
        for k, part in enumerate(parts):
            rows = np.flatnonzero(material == _PART + k)
            albedo[rows], gloss[rows], rough[rows] = part.colour, GLOSS[part.material], ROUGH[part.material]
            if part.material == "knit" and len(rows):
                away = where[rows] @ shape.turn - shape.centre
                rib = np.sin(np.arctan2(away[:, 0], away[:, 2]) * 70)
                relief[rows] = 0.010 * rib
                albedo[rows] *= (0.82 + 0.18 * rib)[:, None]
        return albedo, relief, gloss, rough

    def _inside_mouth(self, material, mouth, template, lamp, diffuse, specular) -> None:
        """Less light reaches what lies deep in the mouth. Changes diffuse and specular in place."""
        rows = np.flatnonzero(mouth | ((material >= _UPPER_TEETH) & (material <= _TONGUE)))
        if not len(rows):
            return
        kind = material[rows]
        teeth, tongue = (kind == _UPPER_TEETH) | (kind == _LOWER_TEETH), kind == _TONGUE
        near = np.clip((template[rows, 2] - 1.0) / 0.5, 0, 1)
        share = np.where(teeth, 0.35 + 0.55 * near, np.where(tongue, 0.25 + 0.45 * near, 0.10 + 0.30 * near))[:, None]
        ambient = np.array([0.62, 0.58, 0.55]) * lamp.ambient * lamp.key
        inner = np.where(teeth, 1, np.where(tongue, 0.9, 0.4))[:, None]
        diffuse[rows] = diffuse[rows] * share + ambient * share**1.5 * inner
        specular[rows] *= 0.5 * share

    def strands(self, group: Strands, lit: Lighting, lamp: light.Lamp, centre: np.ndarray) -> None:
        """Shade strands and paint them far to near."""
        where = group.points.astype(np.float32)
        colours = np.empty(where.shape, np.float32)
        shade_strands(where, lit.strand_light(group), lit.strand_shadow(group), self.camera.position, group.colour,
                      group.tip_gain, lamp.direction, lamp.colour, centre, group.gloss, group.root_shade, colours)
        order = np.argsort(where[:, :, 2].mean(1), kind="stable")
        raster.draw_strands(self.camera.project(where), colours, order, group.width, group.alpha, group.tapered,
                            group.thin_root, self.nearness, self.image, self._covers[group.kind],
                            0.0002 if group.kind == "hair" else 0.00035)

    def lens(self, lens: Lens, turn: np.ndarray, dark: bool) -> None:
        """Look through a lens: tinted, with a soft reflection at the top."""
        near, hit = np.zeros_like(self.nearness), np.full_like(self._hit, -1)
        raster.raster(self.camera.project((lens.points @ turn.T).astype(np.float32)), lens.triangles, near, hit,
                      np.zeros_like(self._corners))
        covered = (hit >= 0) & (near > self.nearness)
        rows, columns = np.nonzero(covered)
        if not len(rows):
            return
        down = (rows - rows.min()) / max(1, np.ptp(rows))
        across = (columns - columns.min()) / max(1, np.ptp(columns))
        shine = (np.clip(1 - down * 2.2 + 0.35 * across, 0, 1) ** 2)[:, None]
        if dark:
            cover = (0.975 - 0.06 * down)[:, None]
            tint = np.array([0.012, 0.012, 0.014]) + shine * np.array([0.10, 0.11, 0.13])
            self.image[covered] = self.image[covered] * (1 - cover) + tint * cover
            self._labels[covered] = REGIONS.index("glasses")
        else:
            self.image[covered] = self.image[covered] * 0.95 + shine * np.array([0.030, 0.034, 0.038])

    def _surface_labels(self, material, maps, template, parts) -> np.ndarray:
        labels = np.full(len(material), REGIONS.index("skin"), np.uint8)
        x, y, z = np.abs(template[:, 0]), template[:, 1], template[:, 2]
        skin_ = material == _SKIN
        width = np.interp(y, (6.84, 7.0, 7.32), (0.22, 0.20, 0.09))
        labels[skin_ & (z > 1.2) & (y > 6.84) & (y < 7.32) & (x < width)] = REGIONS.index("nose")
        labels[skin_ & (maps[:, MAPS.index("lips")] > 0.5)] = REGIONS.index("lips")
        labels[(material == _UPPER_TEETH) | (material == _LOWER_TEETH)] = REGIONS.index("teeth")
        labels[(material == _EYE) | (material == _EYE + 1)] = REGIONS.index("eyes")
        labels[material == _CLOTH] = REGIONS.index("clothes")
        for k, part in enumerate(parts):
            labels[material == _PART + k] = REGIONS.index(part.region)
        return labels

    def labels(self, size: int) -> np.ndarray:
        """The regions at the picture's own size: what most samples of each pixel show. (size, size) uint8."""
        labels = self._labels.copy()
        free = ~np.isin(labels, [REGIONS.index("glasses"), REGIONS.index("hat")])
        for kind in ("brows", "beard", "hair"):
            labels[free & (self._covers[kind] > 0.5)] = REGIONS.index(kind)
        n = self.size // size
        votes = [(labels == k).reshape(size, n, size, n).sum((1, 3)) for k in range(len(REGIONS))]
        return np.argmax(votes, 0).astype(np.uint8)


def _fabric(face: Face, template: np.ndarray, cloth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Albedo (P, 3) and relief (P,) of clothes."""
    wear = face.unnamed
    weave = 1 + 0.10 * noise(template, 40.0, 3) + 0.08 * np.sin(template[:, 1] * 160) * np.sin(template[:, 0] * 160)
    colour = np.array(wear.clothes) * weave[:, None]
    if wear.striped:
        colour = np.where(np.sin(template[:, 1:2] * 26) > 0.1, colour, np.array([0.75, 0.74, 0.7]))
    hem = np.clip((cloth - 0.5) / 0.16, 0, 1)
    return colour * (0.72 + 0.28 * hem[:, None]), 0.012 * noise(template, 3.5, 5) + 0.05 * hem


def _teeth(age: float, template: np.ndarray) -> np.ndarray:
    """Albedo (P, 3) of teeth: yellower with the years, darker between two."""
    x = np.abs(template[:, 0])
    between = np.min(np.abs(x[:, None] - np.array([0, 0.085, 0.155, 0.225, 0.285])), 1)
    gap = np.exp(-((between / 0.009) ** 2))
    yellow = 0.12 * np.clip((age - 30) / 40, 0, 1) * np.array([0.6, 1, 1.8])
    return np.array([0.70, 0.655, 0.55]) * (1 - yellow) * (1 - 0.5 * gap[:, None])


def _scattered(diffuse, rows, columns, size: int, per_unit: float) -> np.ndarray:
    """Light that spreads under the skin: irradiance blurred in the picture, red farthest. (P, 3)."""
    import cv2

    mask = np.zeros((size, size), np.float32)
    mask[rows, columns] = 1
    out = diffuse.copy()
    for channel, spread in enumerate((0.013, 0.006, 0.0035)):
        sigma = spread * per_unit
        if sigma > 0.3:
            image = np.zeros((size, size), np.float32)
            image[rows, columns] = diffuse[:, channel]
            blurred = cv2.GaussianBlur(image, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(mask, (0, 0), sigma), 1e-3)
            out[:, channel] = blurred[rows, columns]
    return out


def _backdrop(face: Face, size: int) -> np.ndarray:
    """A soft gradient, brightest behind the head: (size, size, 3) float32 linear light."""
    y, x = ((np.mgrid[0:size, 0:size] + 0.5) / size).astype(np.float32)
    near, far = (np.array(colour, np.float32) for colour in face.unnamed.backdrop)
    away = np.clip(np.hypot(x - 0.5 - 0.2 * face.look.light_side, y - 0.42) / 0.85, 0, 1)[..., None]
    away = away * away * (3 - 2 * away)
    return near + (far - near) * away
