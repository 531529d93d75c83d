"""Triangles and strands to pixels: compiled kernels, each with its arrays named and shaped."""

import math

import numpy as np

from core.faces.jit import jit


@jit
def vertex_normals(points, triangles):
    """Unit normals (N, 3) float32 of points (N, 3), from triangles (T, 3)."""
    normals = np.zeros((points.shape[0], 3), np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ux, uy, uz = points[b, 0] - points[a, 0], points[b, 1] - points[a, 1], points[b, 2] - points[a, 2]
        vx, vy, vz = points[c, 0] - points[a, 0], points[c, 1] - points[a, 1], points[c, 2] - points[a, 2]
        nx, ny, nz = uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx
        for i in (a, b, c):
            normals[i, 0] += nx
            normals[i, 1] += ny
            normals[i, 2] += nz
    for i in range(normals.shape[0]):
        length = math.sqrt(normals[i, 0] ** 2 + normals[i, 1] ** 2 + normals[i, 2] ** 2) + 1e-12
        for k in range(3):
            normals[i, k] /= length
    return normals


@jit
def turned(points, share, turns):
    """Points (N, 3) float32, each turned by its share in [0, 1] along a row of rotations (K, 3, 3) float32."""
    out = np.empty_like(points)
    last = turns.shape[0] - 1
    for i in range(points.shape[0]):
        place = share[i] * last
        low = min(int(place), last - 1)
        part = place - low
        for k in range(3):
            near = points[i, 0] * turns[low, k, 0] + points[i, 1] * turns[low, k, 1] + points[i, 2] * turns[low, k, 2]
            if part > 0:
                far = (points[i, 0] * turns[low + 1, k, 0] + points[i, 1] * turns[low + 1, k, 1]
                       + points[i, 2] * turns[low + 1, k, 2])
                near += (far - near) * part
            out[i, k] = near
    return out


@jit
def _span(a, b, c, size):
    """First and last of `size` pixels whose centres lie between the least and the greatest of three places."""
    return max(0, int(math.ceil(min(a, b, c) - 0.5))), min(size - 1, int(math.floor(max(a, b, c) - 0.5)))


@jit
def raster(screen, triangles, nearness, hit, corners):
    """Draw triangles (T, 3) of screen points (N, 3: x, y in pixels from the edge, 1 / distance) into three images.

    nearness (H, W) keeps the greatest 1 / distance, hit (H, W) the triangle seen there (-1 none), corners (H, W, 2) the
    perspective weights of its second and third corner.
    """
    height, width = nearness.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, q0 = screen[a, 0], screen[a, 1], screen[a, 2]
        x1, y1, q1 = screen[b, 0], screen[b, 1], screen[b, 2]
        x2, y2, q2 = screen[c, 0], screen[c, 1], screen[c, 2]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-12:
            continue
        per_area = 1 / area
        left, right = _span(x0, x1, x2, width)
        top, low = _span(y0, y1, y2, height)
        for y in range(top, low + 1):
            fy = y + 0.5 - y0
            for x in range(left, right + 1):
                fx = x + 0.5 - x0
                w1 = (fx * (y2 - y0) - (x2 - x0) * fy) * per_area
                w2 = ((x1 - x0) * fy - fx * (y1 - y0)) * per_area
                w0 = 1 - w1 - w2
                if w0 < -1e-5 or w1 < -1e-5 or w2 < -1e-5:
                    continue
                q = w0 * q0 + w1 * q1 + w2 * q2
                if q > nearness[y, x]:
                    nearness[y, x] = q
                    hit[y, x] = t
                    corners[y, x, 0] = w1 * q1 / q
                    corners[y, x, 1] = w2 * q2 / q


@jit
def project_parallel(points, frame, centre, scale, half, out):
    """Points (N, 3) seen along frame[2] from afar: out (N, 3) = x, y in pixels of a map of 2 * half, and nearness."""
    for i in range(points.shape[0]):
        x, y, z = points[i, 0] - centre[0], points[i, 1] - centre[1], points[i, 2] - centre[2]
        out[i, 0] = (x * frame[0, 0] + y * frame[0, 1] + z * frame[0, 2]) * scale + half
        out[i, 1] = (x * frame[1, 0] + y * frame[1, 1] + z * frame[1, 2]) * scale + half
        out[i, 2] = x * frame[2, 0] + y * frame[2, 1] + z * frame[2, 2]


@jit
def depth_map(flat, triangles, depth):
    """Greatest nearness of triangles over flat points (N, 3: x, y pixels, nearness) into depth (M, M)."""
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0, x1, y1, x2, y2 = flat[a, 0], flat[a, 1], flat[b, 0], flat[b, 1], flat[c, 0], flat[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area <= 1e-12:
            continue  # seen from behind
        left, right = _span(x0, x1, x2, width)
        top, low = _span(y0, y1, y2, height)
        if left > right or top > low:
            continue
        per_area = 1 / area
        for y in range(top, low + 1):
            fy = y + 0.5 - y0
            for x in range(left, right + 1):
                fx = x + 0.5 - x0
                w1 = (fx * (y2 - y0) - (x2 - x0) * fy) * per_area
                w2 = ((x1 - x0) * fy - fx * (y1 - y0)) * per_area
                w0 = 1 - w1 - w2
                if w0 < -1e-4 or w1 < -1e-4 or w2 < -1e-4:
                    continue
                z = w0 * flat[a, 2] + w1 * flat[b, 2] + w2 * flat[c, 2]
                if z > depth[y, x]:
                    depth[y, x] = z


@jit
def splat(flat, depth):
    """Greatest nearness of single points (N, 3: x, y pixels, nearness) into depth (M, M)."""
    size = depth.shape[0]
    for i in range(flat.shape[0]):
        x, y = int(flat[i, 0]), int(flat[i, 1])
        if 0 <= x < size and 0 <= y < size and flat[i, 2] > depth[y, x]:
            depth[y, x] = flat[i, 2]


@jit
def seen(depth, x, y, z, bias):
    """Share of the four nearest texels of a depth map that do not cover a point at (x, y) with nearness z."""
    size = depth.shape[0]
    fx, fy = x - 0.5, y - 0.5
    ix, iy = int(math.floor(fx)), int(math.floor(fy))
    if ix < 0 or iy < 0 or ix >= size - 1 or iy >= size - 1:
        return 1.0
    tx, ty = fx - ix, fy - iy
    share = 0.0
    if z + bias >= depth[iy, ix]:
        share += (1 - tx) * (1 - ty)
    if z + bias >= depth[iy, ix + 1]:
        share += tx * (1 - ty)
    if z + bias >= depth[iy + 1, ix]:
        share += (1 - tx) * ty
    if z + bias >= depth[iy + 1, ix + 1]:
        share += tx * ty
    return share


@jit
def seen_by_lamp(flat, depth, bias, taps, reach, out):
    """Soft shadow: mean of `seen` over taps on a spiral of `reach` texels. flat (N, 3) as projected; out (N,)."""
    turn_x, turn_y = np.empty(taps), np.empty(taps)
    for k in range(taps):
        radius = reach * math.sqrt((k + 0.5) / taps)
        turn_x[k], turn_y[k] = radius * math.cos(2.399963 * k), radius * math.sin(2.399963 * k)
    for i in range(flat.shape[0]):
        total = 0.0
        for k in range(taps):
            total += seen(depth, flat[i, 0] + turn_x[k], flat[i, 1] + turn_y[k], flat[i, 2], bias)
        out[i] = total / taps


@jit
def interpolate(hit, corners, pixels, triangles, values, out):
    """Values (N, C) of vertices at pixels (P, 2: row, column): out (P, C)."""
    for i in range(pixels.shape[0]):
        y, x = pixels[i, 0], pixels[i, 1]
        t = hit[y, x]
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        w1, w2 = corners[y, x, 0], corners[y, x, 1]
        w0 = 1 - w1 - w2
        for k in range(values.shape[1]):
            out[i, k] = w0 * values[a, k] + w1 * values[b, k] + w2 * values[c, k]


@jit
def interpolate_uv(hit, corners, pixels, uv, out):
    """Texture coordinates (T, 3, 2) of triangles at pixels (P, 2); out (P, 2). Triangles beyond T give 0."""
    for i in range(pixels.shape[0]):
        y, x = pixels[i, 0], pixels[i, 1]
        t = hit[y, x]
        if t >= uv.shape[0]:
            out[i, 0], out[i, 1] = 0.0, 0.0
            continue
        w1, w2 = corners[y, x, 0], corners[y, x, 1]
        for k in range(2):
            out[i, k] = (1 - w1 - w2) * uv[t, 0, k] + w1 * uv[t, 1, k] + w2 * uv[t, 2, k]


@jit
def sample_maps(maps, uv, use, left, top, per_unit, out):
    """Bilinear values of maps (H, W, C) at uv (P, 2) where `use`; out (P, C) keeps its zeros elsewhere."""
    height, width, channels = maps.shape
    for i in range(uv.shape[0]):
        if not use[i]:
            continue
        x, y = (uv[i, 0] - left) * per_unit - 0.5, (top - uv[i, 1]) * per_unit - 0.5
        if x < 0 or y < 0 or x >= width - 1.001 or y >= height - 1.001:
            continue
        ix, iy = int(x), int(y)
        fx, fy = x - ix, y - iy
        w00, w01, w10, w11 = (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy
        for c in range(channels):
            out[i, c] = (maps[iy, ix, c] * w00 + maps[iy, ix + 1, c] * w01
                         + maps[iy + 1, ix, c] * w10 + maps[iy + 1, ix + 1, c] * w11)


@jit
def draw_strands(screen, colours, order, width, alpha, tapered, thin_root, nearness, image, cover, bias):
    """Paint anti-aliased polylines, in order, over an image.

    screen: (S, n, 3) x, y in pixels and 1 / distance. colours: (S, n, 3). width in pixels and alpha: (S,). tapered:
    strands end thin; thin_root: and begin thin. image (H, W, 3) and cover (H, W) are changed in place; a strand is
    hidden where nearness (H, W) exceeds its own by more than bias.
    """
    height, columns = nearness.shape
    n = screen.shape[1]
    for o in range(order.shape[0]):
        s = order[o]
        for i in range(n - 1):
            x0, y0, q0 = screen[s, i, 0], screen[s, i, 1], screen[s, i, 2]
            dx, dy, dq = screen[s, i + 1, 0] - x0, screen[s, i + 1, 1] - y0, screen[s, i + 1, 2] - q0
            length = math.sqrt(dx * dx + dy * dy)
            if length < 1e-3:
                continue
            w = width[s]
            along = (i + 0.5) / (n - 1)
            if tapered:
                w *= 1 - 0.6 * along
            if thin_root:
                w *= min(1.0, 0.45 + 3.0 * along)
            major = max(abs(dx), abs(dy))
            steps = int(major) + 1
            flat = abs(dx) >= abs(dy)
            lean = major / length
            reach = (w * 0.5 + 0.5) / lean
            for j in range(steps):
                t = (j + 0.5) / steps
                cx, cy, q = x0 + dx * t, y0 + dy * t, q0 + dq * t + bias
                across = cy if flat else cx
                fixed = int(math.floor(cx if flat else cy))
                if fixed < 0 or fixed >= (columns if flat else height):
                    continue
                first, last = max(0, int(math.floor(across - reach))), int(math.floor(across + reach))
                last = min(last, (height if flat else columns) - 1)
                for k in range(first, last + 1):
                    a = w * 0.5 + 0.5 - abs(k + 0.5 - across) * lean
                    if a <= 0:
                        continue
                    a = min(a, 1.0, w) * alpha[s]
                    y, x = (k, fixed) if flat else (fixed, k)
                    if q >= nearness[y, x]:
                        for c in range(3):
                            value = colours[s, i, c] + (colours[s, i + 1, c] - colours[s, i, c]) * t
                            image[y, x, c] += (value - image[y, x, c]) * a
                        cover[y, x] += (1 - cover[y, x]) * a


@jit
def look_up(image, gain, table, out):
    """Values of a table at sqrt(image * gain), from 0 at its first entry to 1 at its last: out (H, W, C)."""
    last = table.size - 1
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            for c in range(image.shape[2]):
                place = math.sqrt(min(max(image[y, x, c] * gain, 0.0), 1.0)) * last
                low = min(int(place), last - 1)
                out[y, x, c] = table[low] + (table[low + 1] - table[low]) * (place - low)
