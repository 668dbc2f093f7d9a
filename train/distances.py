"""How far a set of colored pictures is from the set of originals, in a network's feature space."""

import numpy as np

BOOTSTRAP = 1000  # resamplings behind the interval


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x.astype(np.float64) @ y.astype(np.float64).T / x.shape[1] + 1) ** 3


def _pair_statistic(features: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """h(i, j) whose mean over i != j is the estimate: (n, n) with a diagonal of zeros."""
    cross = _kernel(features, reference)
    h = _kernel(features, features) + _kernel(reference, reference) - cross - cross.T
    np.fill_diagonal(h, 0)
    return h


def kernel_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Squared maximum mean discrepancy with the kernel (x.y / C + 1)^3, where row i of both is the same picture.

    features   (n, C) of the colored pictures
    reference  (n, C) of the originals, in the same order
    returns    the unbiased estimate; all three terms leave out i = j: a picture is nearer to its own original than
               to any other, which would lower the distance of two sets that are not independent
    source     Binkowski et al., ICLR 2018 (kernel inception distance); Gretton et al., JMLR 2012, lemma 6
    """
    n = len(features)
    return float(_pair_statistic(features, reference).sum() / (n * (n - 1)))


def kernel_distance_interval(features: np.ndarray, reference: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of kernel_distance: pictures are drawn with replacement, pairs of a picture with itself
    left out."""
    h = _pair_statistic(features, reference)
    n = len(h)
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=BOOTSTRAP).astype(np.float64)
    counts = counts[counts.max(axis=1) < n]  # one picture n times is no pair
    pairs = n * n - (counts**2).sum(axis=1)  # ordered pairs of different pictures in each resampling
    estimates = np.einsum("kn,kn->k", counts @ h, counts) / pairs
    low, high = np.percentile(estimates, (2.5, 97.5))
    return float(low), float(high)


def frechet_distance(features: np.ndarray, reference: np.ndarray) -> float:
    """Frechet distance of the Gaussians fitted to two sets of features (n, C) and (m, C).

    The trace of sqrt(A B) is the sum of the square roots of the eigenvalues of sqrt(A) B sqrt(A), which is symmetric.
    source  Heusel et al., NeurIPS 2017
    """
    mean_gap = features.mean(axis=0, dtype=np.float64) - reference.mean(axis=0, dtype=np.float64)
    a, b = (np.cov(x.astype(np.float64), rowvar=False) for x in (features, reference))
    values, vectors = np.linalg.eigh(a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    cross = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ b @ root), 0)).sum()
    return float(mean_gap @ mean_gap + np.trace(a) + np.trace(b) - 2 * cross)
