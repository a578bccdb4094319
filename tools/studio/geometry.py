"""Triangle meshes for the studio: lofts, lathes, tubes, and cutting a mesh along a curve.

Units are metres; car coordinates are x forward, y to the car's left, z up, floor at z = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass
class Mesh:
    """Triangles with a normal at every vertex (and texture coordinates where they are needed).

    vertices (N, 3) float, normals (N, 3) float, faces (M, 3) int, uv (N, 2) float or None.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None

    def moved(self, offset) -> Mesh:
        """The same mesh, shifted by offset (3,)."""
        return Mesh(self.vertices + np.asarray(offset, float), self.normals, self.faces, self.uv)

    def turned(self, matrix: np.ndarray) -> Mesh:
        """The same mesh under a 3x3 matrix; a mirror keeps its faces pointing outwards."""
        faces = self.faces if np.linalg.det(matrix) > 0 else self.faces[:, ::-1]
        normals = self.normals @ np.linalg.inv(matrix)
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return Mesh(self.vertices @ matrix.T, normals, faces, self.uv)

    @property
    def empty(self) -> bool:
        return len(self.faces) == 0


MIRROR_Y = np.diag([1.0, -1.0, 1.0])


def rotation(axis: str, angle: float) -> np.ndarray:
    """Rotation matrix (3, 3) about axis 'x', 'y' or 'z' by angle in radians."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(3)
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def with_normals(vertices: np.ndarray, faces: np.ndarray) -> Mesh:
    """Mesh with area-weighted smooth normals; vertices that coincide share their normal."""
    a, b, c = (vertices[faces[:, i]] for i in range(3))
    cross = np.cross(b - a, c - a)
    _, group = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)
    group = group.ravel()
    summed = np.zeros((group.max() + 1, 3))
    for i in range(3):
        np.add.at(summed, group[faces[:, i]], cross)
    normals = summed[group]
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    good = np.linalg.norm(cross, axis=1) > 1e-12
    return Mesh(vertices, normals, faces[good])


def loft(points: np.ndarray, closed: bool = False) -> Mesh:
    """Surface through a grid of points (rows, columns, 3); closed joins last column to first."""
    rows, columns, _ = points.shape
    index = np.arange(rows * columns).reshape(rows, columns)
    if closed:
        index = np.concatenate([index, index[:, :1]], axis=1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    quads = np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return with_normals(points.reshape(-1, 3).astype(float), quads)


def lathe(profile: np.ndarray, segments: int = 64) -> Mesh:
    """Turn a profile (N, 2) of (radius, y) about the y axis."""
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    profile = np.asarray(profile, float)
    points = np.stack(
        [
            profile[:, :1] * np.cos(angle),
            np.repeat(profile[:, 1:], segments, axis=1),
            profile[:, :1] * np.sin(angle),
        ],
        axis=-1,
    )
    return loft(points, closed=True)


def ellipsoid(centre, radii, power: float = 2.0, n: int = 16) -> Mesh:
    """Superellipsoid: power 2 is an ellipsoid, 6 a box with soft edges."""
    theta = np.linspace(-np.pi / 2, np.pi / 2, n)
    phi = np.linspace(-np.pi, np.pi, 2 * n, endpoint=False)

    def bent(value: np.ndarray) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** (2 / power)

    x = bent(np.cos(theta))[:, None] * bent(np.cos(phi))[None]
    y = bent(np.cos(theta))[:, None] * bent(np.sin(phi))[None]
    z = np.repeat(bent(np.sin(theta))[:, None], 2 * n, axis=1)
    return loft(np.stack([x, y, z], -1) * np.asarray(radii, float), closed=True).moved(centre)


def box(low, high) -> Mesh:
    """Axis-aligned box with flat faces between two corners (3,)."""
    low, high = np.asarray(low, float), np.asarray(high, float)
    parts = []
    for axis in range(3):
        i, j = (axis + 1) % 3, (axis + 2) % 3
        for side, value in ((-1, low[axis]), (1, high[axis])):
            corners = np.empty((4, 3))
            corners[:, axis] = value
            corners[:, i] = [low[i], high[i], high[i], low[i]]
            corners[:, j] = [low[j], low[j], high[j], high[j]]
            normal = np.zeros((4, 3))
            normal[:, axis] = side
            faces = np.array([[0, 1, 2], [0, 2, 3]])
            parts.append(Mesh(corners, normal, faces if side > 0 else faces[:, ::-1]))
    return merge(parts)


def tube(path: np.ndarray, radius: float, segments: int = 10) -> Mesh:
    """Round tube along a path (N, 3), open at its ends."""
    path = np.asarray(path, float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    helper = np.where(np.abs(tangent[:, 2:]) < 0.9, [[0.0, 0.0, 1.0]], [[0.0, 1.0, 0.0]])
    side = np.cross(tangent, helper)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    up = np.cross(side, tangent)
    angle = np.linspace(2 * np.pi, 0, segments, endpoint=False)
    ring = np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * up[:, None]
    return loft(path[:, None] + radius * ring, closed=True)


def disc(centre, radius: float, axis: str = "y", segments: int = 48) -> Mesh:
    """Flat disc facing along +axis."""
    mesh = lathe(np.array([[0.0, 0.0], [radius, 0.0]]), segments)
    mesh.normals[:] = [0.0, 1.0, 0.0]
    turn = {"y": np.eye(3), "x": rotation("z", -np.pi / 2), "z": rotation("x", np.pi / 2)}[axis]
    return mesh.turned(turn).moved(centre)


def merge(meshes: list[Mesh]) -> Mesh:
    """One mesh out of several (texture coordinates are dropped)."""
    meshes = [mesh for mesh in meshes if not mesh.empty]
    if not meshes:
        return Mesh(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 3), int))
    starts = np.cumsum([0] + [len(mesh.vertices) for mesh in meshes[:-1]])
    return Mesh(
        np.concatenate([mesh.vertices for mesh in meshes]),
        np.concatenate([mesh.normals for mesh in meshes]),
        np.concatenate([mesh.faces + start for mesh, start in zip(meshes, starts, strict=True)]),
    )


def cut(mesh: Mesh, value: np.ndarray) -> tuple[Mesh, Mesh]:
    """Cut a mesh along the curve value = 0, triangles being split exactly on it.

    value (N,) is given at the vertices and taken as linear in between.
    Returns (where value < 0, where value >= 0).
    """
    if mesh.empty:
        return mesh, mesh
    inside = value < 0
    count = inside[mesh.faces].sum(axis=1)
    vertices, normals = [mesh.vertices], [mesh.normals]
    kept = {True: [mesh.faces[count == 3]], False: [mesh.faces[count == 0]]}
    total = len(mesh.vertices)
    for lone_inside, wanted in ((True, 1), (False, 2)):
        faces = mesh.faces[count == wanted]
        if len(faces) == 0:
            continue
        lone = np.argmax(inside[faces] == lone_inside, axis=1)
        order = (lone[:, None] + np.arange(3)) % 3
        a, b, c = np.take_along_axis(faces, order, axis=1).T
        ends = []
        for other in (b, c):
            t = (value[a] / (value[a] - value[other]))[:, None]
            vertices.append(mesh.vertices[a] * (1 - t) + mesh.vertices[other] * t)
            normal = mesh.normals[a] * (1 - t) + mesh.normals[other] * t
            length = np.linalg.norm(normal, axis=1, keepdims=True)
            normals.append(normal / np.maximum(length, 1e-12))
            ends.append(total + np.arange(len(a)))
            total += len(a)
        p, q = ends
        kept[lone_inside].append(np.stack([a, p, q], -1))
        kept[not lone_inside] += [np.stack([p, b, c], -1), np.stack([p, c, q], -1)]
    vertices, normals = np.concatenate(vertices), np.concatenate(normals)

    def piece(faces: list[np.ndarray]) -> Mesh:
        faces = np.concatenate(faces)
        used, index = np.unique(faces, return_inverse=True)
        return Mesh(vertices[used], normals[used], index.reshape(faces.shape))

    return piece(kept[True]), piece(kept[False])


def refine(mesh: Mesh, times: int = 1) -> Mesh:
    """Every triangle as four, the shape unchanged: for cuts finer than the grid they are cut in."""
    for _ in range(times):
        a, b, c = mesh.faces.T
        n, size = len(mesh.faces), len(mesh.vertices)
        ab, bc, ca = (size + k * n + np.arange(n) for k in range(3))
        pairs = ((a, b), (b, c), (c, a))
        vertices = [mesh.vertices] + [(mesh.vertices[i] + mesh.vertices[j]) / 2 for i, j in pairs]
        normals = [mesh.normals] + [mesh.normals[i] + mesh.normals[j] for i, j in pairs]
        normals = np.concatenate(normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        triangles = ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))
        faces = np.concatenate([np.stack(corner, -1) for corner in triangles])
        mesh = Mesh(np.concatenate(vertices), normals, faces)
    return mesh


def write_ply(mesh: Mesh, path: Path) -> None:
    """Write a mesh as binary PLY, the form the renderer loads."""
    names = ["x", "y", "z", "nx", "ny", "nz"] + (["u", "v"] if mesh.uv is not None else [])
    columns = [mesh.vertices, mesh.normals] + ([mesh.uv] if mesh.uv is not None else [])
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(mesh.vertices)}"]
    header += [f"property float {name}" for name in names]
    header += [f"element face {len(mesh.faces)}", "property list uchar int vertex_indices"]
    rows = np.zeros(len(mesh.faces), dtype=[("n", "u1"), ("i", "<i4", 3)])
    rows["n"], rows["i"] = 3, mesh.faces
    body = np.concatenate(columns, axis=1).astype("<f4").tobytes() + rows.tobytes()
    path.write_bytes(("\n".join([*header, "end_header"]) + "\n").encode() + body)
