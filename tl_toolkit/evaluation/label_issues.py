"""Photos whose labels are probably wrong, by confident learning.

Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating Uncertainty in Dataset Labels" (arXiv:1911.00068),
which the library cleanlab implements. That library is under the AGPL, so the method is written here from the paper:

1. The threshold of a class is its mean self-confidence: the mean of p(class), over the photos that carry its label.
2. A photo counts in the confident joint as labelled i and really j, where j has the highest probability among the
   classes whose probability reaches their thresholds. Photos of which no class does count nowhere.
3. The photos off the diagonal, i != j, are the label issues; but not those for which the label is still the likeliest
   class, as in cleanlab: there the model does not contradict the label.
4. They are ranked by their normalised margin p(i) - max over c != i of p(c), the lowest first.

Thresholds of their own make classes comparable of which a model is more and less sure, such as large and small ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelIssue:
    """A photo whose label is probably wrong.

    Attributes:
        index: Of the photo.
        label: The class that it carries, as an index.
        suggested: The class that it probably is.
        self_confidence: p(label), 0..1.
        margin: p(label) minus the highest probability of another class, -1..0; the lower, the likelier the mistake.
    """

    index: int
    label: int
    suggested: int
    self_confidence: float
    margin: float


def class_thresholds(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Mean self-confidence of each class.

    Args:
        labels: int, shape (n,), 0 .. k - 1.
        probabilities: float, shape (n, k), of models that were not trained on the photo or its duplicates.

    Returns:
        float64, shape (k,); infinite for a class without photos, which nothing can then be taken for.

    Raises:
        ValueError: shapes or values that cannot be.
    """
    labels, probabilities = _checked(labels, probabilities)
    n_classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=n_classes)
    sums = np.bincount(labels, weights=probabilities[np.arange(len(labels)), labels], minlength=n_classes)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)


def find_label_issues(labels: np.ndarray, probabilities: np.ndarray) -> tuple[LabelIssue, ...]:
    """Photos whose labels are probably wrong, the likeliest mistake first; ties go to the lower index.

    Args:
        labels: int, shape (n,), 0 .. k - 1.
        probabilities: float, shape (n, k), out of fold: of models that were not trained on the photo or its duplicates.

    Raises:
        ValueError: shapes or values that cannot be.
    """
    labels, probabilities = _checked(labels, probabilities)
    rows = np.arange(len(labels))
    confident = probabilities >= class_thresholds(labels, probabilities)
    suggested = np.where(confident, probabilities, -1).argmax(1)
    own = probabilities[rows, labels]
    others = probabilities.copy()
    others[rows, labels] = -1
    margins = own - others.max(1)
    issues = confident.any(1) & (suggested != labels) & (margins < 0)
    found = np.flatnonzero(issues)
    return tuple(
        LabelIssue(
            index=int(i),
            label=int(labels[i]),
            suggested=int(suggested[i]),
            self_confidence=float(own[i]),
            margin=float(margins[i]),
        )
        for i in found[np.argsort(margins[found], kind="stable")]
    )


def _checked(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or labels.shape != probabilities.shape[:1] or probabilities.shape[1] < 2:
        raise ValueError(
            f"labels of shape (n,) and probabilities of shape (n, k >= 2) must hold, got {labels.shape} and "
            f"{probabilities.shape}"
        )
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be integers, got {labels.dtype}")
    if labels.size and not (labels.min() >= 0 and labels.max() < probabilities.shape[1]):
        raise ValueError(f"0 <= labels < {probabilities.shape[1]} must hold, got {labels.min()} to {labels.max()}")
    if not ((probabilities >= 0) & (probabilities <= 1 + 1e-4)).all():
        raise ValueError("0 <= probabilities <= 1 must hold, and none may be NaN")
    return labels, probabilities
