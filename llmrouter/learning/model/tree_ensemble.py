"""A forest of randomised trees as flat arrays, evaluated for all trees at once.

Trees over the readable measurements and the leading vector components catch formats and thresholds
that the networks smooth over. Evaluation is one vectorised step per level for all trees together,
without a Python loop over trees, so it fits the decision's budget. Fitting is in `training`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llmrouter.learning.encoders.hashed_features import Floats, Ints

_CHUNK = 2048


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as arrays over all nodes.

    `roots` int64 [trees]; per node `feature` int64, `threshold` float32, `child` int64 (the left
    child; the right one follows it; a leaf points to itself with an infinite threshold) and
    `leaf` int32 (row of `values`). Index arrays are of the platform's own index type, which halves
    the time of a walk. `values` uint8 [leaves, T] is quality times 255, `depth` the
    longest walk.
    """

    roots: Ints
    feature: Ints
    threshold: Floats
    child: Ints
    leaf: NDArray[np.int32]
    values: NDArray[np.uint8]
    depth: int

    def estimate(self, inputs: Floats) -> Floats:
        """Mean quality over the trees for `inputs` [n, d]: float32 [n, T]."""
        chunks = [self._chunk(inputs[at : at + _CHUNK]) for at in range(0, len(inputs), _CHUNK)]
        if not chunks:
            return np.zeros((0, self.values.shape[1]), np.float32)
        return np.concatenate(chunks)

    def estimate_one(self, inputs: Floats) -> Floats:
        """Mean quality over the trees for one input [d]: float32 [T]."""
        node = self.roots
        for _ in range(self.depth):
            right = inputs.take(self.feature.take(node)) > self.threshold.take(node)
            node = self.child.take(node) + right
        leaves = self.values.take(self.leaf.take(node), axis=0).astype(np.float32)
        mean: Floats = np.ones(len(node), np.float32) @ leaves  # whole numbers: an exact sum
        mean /= np.float32(255 * len(self.roots))
        return mean

    def _chunk(self, inputs: Floats) -> Floats:
        total = np.zeros((len(inputs), self.values.shape[1]), np.float32)
        every = np.arange(len(inputs))
        for root in self.roots:
            node = np.full(len(inputs), root, np.int64)
            for _ in range(self.depth):
                right = inputs[every, self.feature[node]] > self.threshold[node]
                step = self.child[node] + right
                if np.array_equal(step, node):
                    break
                node = step
            total += self.values[self.leaf[node]]
        return total * np.float32(1 / (255 * len(self.roots)))


def flatten(trees: Sequence[object]) -> Forest:
    """Fitted scikit-learn trees laid out breadth first, children side by side."""
    features, thresholds, children, leaves, values, roots = [], [], [], [], [], []
    nodes = rows = depth = 0
    for tree in trees:
        left, right = tree.children_left, tree.children_right  # type: ignore[attr-defined]
        order = [0]
        for node in order:
            if left[node] >= 0:
                order += [left[node], right[node]]
        old = np.array(order)
        place = np.empty(len(old), np.int64)
        place[old] = np.arange(len(old))
        leaf = left[old] < 0
        roots.append(nodes)
        features.append(np.where(leaf, 0, tree.feature[old]))  # type: ignore[attr-defined]
        thresholds.append(np.where(leaf, np.inf, tree.threshold[old]))  # type: ignore[attr-defined]
        children.append(nodes + np.where(leaf, np.arange(len(old)), place[left[old]]))
        leaves.append(np.where(leaf, rows + np.cumsum(leaf) - 1, 0))
        values.append(tree.value[old[leaf], :, 0])  # type: ignore[attr-defined]
        nodes, rows = nodes + len(old), rows + int(leaf.sum())
        depth = max(depth, tree.max_depth)  # type: ignore[attr-defined]
    return Forest(
        np.array(roots, np.int64),
        np.concatenate(features).astype(np.int64),
        np.concatenate(thresholds).astype(np.float32),
        np.concatenate(children).astype(np.int64),
        np.concatenate(leaves).astype(np.int32),
        np.rint(np.concatenate(values).clip(0, 1) * 255).astype(np.uint8),
        depth,
    )
