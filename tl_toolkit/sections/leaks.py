"""What of a test set is in a training set: its record, ``leaks.json``, its table, ``leaks.csv``, and its page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tl_toolkit.core.files import csv_text
from tl_toolkit.core.records import Quarantined
from tl_toolkit.core.runs import environment, plain
from tl_toolkit.core.thumbnails import kept_picture
from tl_toolkit.sections.document import build_page
from tl_toolkit.sections.document import render as fill

SCHEMA_VERSION = 1

KINDS = {"file": "identical file", "pixels": "other file of the same pixels", "near": "near duplicate"}
"""Of pairs, the surest first, and what readers call one."""

SHOWN = 40
"""Most photos of each kind that the page shows: it stays below some megabytes. The table holds all."""

COLUMNS = ("test", "train", "kind", "hash_distance", "cosine", "test_label", "train_label")


def leaks_record(
    *,
    train: Any,
    test: Any,
    found: Any,
    quarantined: Mapping[str, Sequence[Quarantined]],
    rules: Sequence[tuple[int, float | None]],
    backbone: str | None,
    command: str,
    seconds: float,
) -> dict[str, Any]:
    """The content of ``leaks.json``.

    ``labels`` is None where they cannot be compared: one set has none, or they share no class. Otherwise it tells how
    many photos of the test set have a twin that carries another label.

    Args:
        train, test: The sets, their readable photos only: name, paths, labels or None, whether they were drawn.
        found: The pairs, by photo of the test set, of each the closest first.
        quarantined: ``train`` and ``test`` -> the files that could not be read.
        rules: Near duplicates: most bits in which the hashes differ, least cosine (None: not asked), in one row.
        backbone: Whose features the cosines are of; None: none were computed.
        seconds: What it all took.
    """
    pairs = [
        {
            "test": test.paths[pair.test],
            "train": train.paths[pair.train],
            "kind": pair.kind,
            "hash_distance": pair.distance,
            "cosine": pair.cosine,
            "test_label": test.labels and test.labels[pair.test],
            "train_label": train.labels and train.labels[pair.train],
        }
        for pair in found.pairs
    ]
    comparable = bool(test.labels and train.labels and set(test.labels) & set(train.labels))
    disagreeing = {pair["test"] for pair in pairs if pair["test_label"] != pair["train_label"]}
    return plain(
        {
            "schema_version": SCHEMA_VERSION,
            "command": command,
            "seconds": seconds,
            "train": _side(train, quarantined["train"]),
            "test": _side(test, quarantined["test"]),
            "rules": rules,
            "backbone": backbone,
            "leaking": len(found.closest),
            "share": found.share,
            "counts": found.counts,
            "train_photos": len({pair.train for pair in found.pairs}),
            "labels": {"disagreeing": len(disagreeing)} if comparable else None,
            "pairs": pairs,
            "environment": environment(),
        }
    )


def _side(collection: Any, quarantined: Sequence[Quarantined]) -> dict[str, Any]:
    return {
        "name": collection.name,
        "is_sample": collection.is_sample,
        "notes": collection.notes,
        "n_photos": len(collection.paths),
        "class_counts": dict(sorted(Counter(collection.labels).items())) if collection.labels else None,
        "quarantined": quarantined,
    }


def verdict(record: Mapping[str, Any]) -> str:
    """The answer in one sentence."""
    n_test, n_train, counts = record["test"]["n_photos"], record["train"]["n_photos"], record["counts"]
    if not record["leaking"]:
        return (
            f"None of {_count(n_test, 'test photo')} was found among {_count(n_train, 'training photo')}: "
            f"no identical file, none of the same pixels, and no near duplicate, which is where {rule(record)}."
        )
    kinds = ", ".join(_count(counts[kind], name) for kind, name in KINDS.items() if counts[kind])
    return (
        f"{record['leaking']} of {_count(n_test, 'test photo')} ({100 * record['share']:.1f} %) "
        f"{'is' if record['leaking'] == 1 else 'are'} in the training set: {kinds}; "
        "a score on this test set is not a score on unseen photos."
    )


def rule(record: Mapping[str, Any]) -> str:
    """When two photos are near duplicates here."""
    ways = []
    for most, least in record["rules"]:
        # All 64 bits may differ where the cosine alone decides.
        bits = [f"the perceptual hashes differ in at most {most} of 64 bits"] if most < 64 else []
        angle = [f"the cosine of the features is at least {least:.2f}"] if least is not None else []
        ways.append(" and ".join(bits + angle))
    return ", or ".join(ways) + (f" (features of {record['backbone']})" if record["backbone"] else "")


def _count(number: int, name: str) -> str:
    head, of, tail = name.partition(" of ")
    return f"{number} {head}{'' if number == 1 else 's'}{of}{tail}"


def closest(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of each photo of the test set that leaks, its closest pair, and under ``twins`` how many pairs it has."""
    twins = Counter(pair["test"] for pair in record["pairs"])
    first: dict[str, dict[str, Any]] = {}
    for pair in record["pairs"]:
        first.setdefault(pair["test"], {**pair, "twins": twins[pair["test"]]})
    return list(first.values())


def pictured(record: Mapping[str, Any]) -> list[int]:
    """Positions in :func:`closest` of the photos that the page shows: of each kind the first, the surest kind first."""
    pairs = closest(record)
    return [i for kind in KINDS for i in [i for i, pair in enumerate(pairs) if pair["kind"] == kind][:SHOWN]]


def class_rows(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How much of each class of the test set leaks; none where it has no classes."""
    leaking = Counter(pair["test_label"] for pair in closest(record))
    return [
        {"name": name, "photos": count, "leaking": leaking[name]}
        for name, count in (record["test"]["class_counts"] or {}).items()
    ]


def table(record: Mapping[str, Any]) -> str:
    """``leaks.csv``: one line a pair; what is not known is left empty."""
    return csv_text(record["pairs"], COLUMNS)


def build(folder: Path) -> Path:
    """Write ``index.html`` into the folder of a comparison, from its record and its pictures.

    Raises:
        UserError: the folder holds no comparison.
    """
    return build_page(folder, "leaks.json", "comparison", "compare the two sets again", render)


def render(record: Mapping[str, Any], folder: Path) -> str:
    """The page as HTML; every name in it is escaped, for names are data.

    Args:
        folder: Of the record and the thumbnails. One that is missing leaves its place empty.
    """
    pairs = closest(record)
    return fill(
        "leaks.html.j2",
        record=record,
        pairs=pairs,
        shown=pictured(record),
        kinds=KINDS,
        classes=class_rows(record),
        rule=rule(record),
        picture=partial(kept_picture, folder),
    )
