"""What the model is for, what it is not for, how to use it, and what would make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tl_toolkit.core.saved import SavedRun
from tl_toolkit.sections.document import Section


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Attributes:
    weights: Backbone -> licence of its weights; empty for runs of older releases.
    hashes: What -> SHA-256.
    weakest: Names of the classes with the lowest F1.
    """

    weights: Mapping[str, str]
    hashes: Mapping[str, str]
    weakest: tuple[str, ...]
    settings: tuple[tuple[str, Any, Any], ...]


def compute(saved: SavedRun) -> ModelCard:
    """From ``run.json``."""
    run = saved.run
    per_class, search = run["evaluation"]["per_class"], run.get("search")
    best = search["best"] if search else run["training"]["settings"]
    reference = search["reference"]["settings"] if search else {}
    return ModelCard(
        weights=saved.analysis.get("weights", {}),
        hashes={
            "data (all digests and labels)": run["dataset"]["fingerprint"],
            **({f"search space {search['space']}": search["space_sha256"]} if search else {}),
            run["model"]["path"]: run["model"]["sha256"],
        },
        weakest=tuple(sorted(per_class, key=lambda name: per_class[name]["f1"]["value"])[:3]),
        settings=tuple((name, value, reference.get(name)) for name, value in best.items()),
    )


SECTION = Section(title="The model, and how to use it", compute=compute)
