"""Value noise: smooth random numbers fixed in space. Integer hashing, so every machine gives the same.

Beside it the two small helpers that all paint uses: a hill and a mixture.
"""

import math

from core.faces_v3.jit import jit


@jit
def grain(x, y, seed):
    """A random number in [0, 1) for a cell of whole numbers."""
    h = (x * 374761393 + y * 668265263 + seed * 2147483647) & 0x7FFFFFFF
    h = ((h ^ (h >> 13)) * 1274126177) & 0x7FFFFFFF
    return ((h ^ (h >> 16)) & 0xFFFFFF) / 16777216.0


@jit
def noise(x, y, seed):
    """Smooth noise in [0, 1) with cells of size one."""
    ix, iy = int(x // 1.0), int(y // 1.0)
    fx, fy = x - ix, y - iy
    fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
    a = grain(ix, iy, seed) * (1 - fx) + grain(ix + 1, iy, seed) * fx
    b = grain(ix, iy + 1, seed) * (1 - fx) + grain(ix + 1, iy + 1, seed) * fx
    return a * (1 - fy) + b * fy


@jit
def clouds(x, y, seed):
    """Three octaves of noise, in [0, 1)."""
    return (noise(x, y, seed) * 4 + noise(x * 2.1, y * 2.1, seed + 1) * 2 + noise(x * 4.3, y * 4.3, seed + 2)) / 7


@jit
def strands(across, along, seed):
    """Hair: noise drawn out along the strand, in [0, 1); fine over coarse."""
    a = noise(across * 7, along * 0.8, seed)
    b = noise(across * 19 + a, along * 1.6, seed + 5)
    c = noise(across * 46 + b * 2, along * 2.5, seed + 9)
    return 0.3 * a + 0.35 * b + 0.35 * c


@jit
def spots(x, y, seed, share):
    """Round spots at random in cells of size one; returns 0 to 1 at a spot's middle. share: cells with one."""
    best = 0.0
    ix, iy = int(x // 1.0), int(y // 1.0)
    for dx in range(-1, 2):
        for dy in range(-1, 2):
            cx, cy = ix + dx, iy + dy
            if grain(cx, cy, seed) < share:
                px = cx + 0.2 + 0.6 * grain(cx, cy, seed + 1)
                py = cy + 0.2 + 0.6 * grain(cx, cy, seed + 2)
                r = 0.14 + 0.26 * grain(cx, cy, seed + 3)
                d = ((x - px) ** 2 + (y - py) ** 2) / (r * r)
                if d < 1 and 1 - d > best:
                    best = 1 - d
    return best


@jit
def hill(d, s):
    """A Gaussian of width s."""
    return math.exp(-((d / s) ** 2))


@jit
def mix(a, b, share):
    """From a (share 0) to b (share 1)."""
    return a + (b - a) * share
