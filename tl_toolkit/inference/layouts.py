"""Predictions as text: a table for people, CSV and JSON lines for programs; one line a photo, as it comes."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from typing import Protocol

from tl_toolkit.inference.classifier import UNSURE, Failure, Prediction

_UNREADABLE = "(unreadable)"


class Layout(Protocol):
    """What precedes all lines, and the line of one photo; each with its line end."""

    def head(self) -> str: ...
    def line(self, one: Prediction | Failure) -> str: ...


class Table:
    """Aligned columns: answer, probability and path; where more classes are asked for, these and their probabilities.

    Characters that a terminal would not print, line ends among them, are escaped.
    """

    def __init__(self, class_names: Sequence[str], top_k: int) -> None:
        self._top_k = min(top_k, len(class_names))
        self._width = max(len(printable(name)) for name in (*class_names, UNSURE, _UNREADABLE))

    def head(self) -> str:
        return ""

    def line(self, one: Prediction | Failure) -> str:
        path = printable(one.path or "")
        if isinstance(one, Failure):
            columns = self._width + (7 if self._top_k == 1 else self._top_k * (self._width + 8))
            return f"{_UNREADABLE:{columns}}  {path}: {printable(one.reason)}\n"
        answer = f"{printable(one.answer):{self._width}}"
        if self._top_k == 1:
            return f"{answer}  {one.probability:.3f}  {path}\n"
        top = (f"{printable(name):{self._width}} {probability:.3f}" for name, probability in one.top(self._top_k))
        return f"{'  '.join((answer, *top))}  {path}\n"


class Csv:
    """CSV with a header.

    ``path``; ``label``, the answer: a class, or ``unsure``; ``class_1``, ``probability_1`` and so on, the most probable
    classes; ``error``, why a photo could not be read.
    """

    def __init__(self, class_names: Sequence[str], top_k: int) -> None:
        ranks = range(1, min(top_k, len(class_names)) + 1)
        self._names = ["path", "label", *(f"{what}_{n}" for n in ranks for what in ("class", "probability")), "error"]
        self._top_k = len(ranks)

    def head(self) -> str:
        return self._row(dict(zip(self._names, self._names, strict=True)))

    def line(self, one: Prediction | Failure) -> str:
        if isinstance(one, Failure):
            return self._row({"path": one.path or "", "error": one.reason})
        row = {"path": one.path or "", "label": one.answer}
        for n, (name, probability) in enumerate(one.top(self._top_k), 1):
            row |= {f"class_{n}": name, f"probability_{n}": f"{probability:.6f}"}
        return self._row(row)

    def _row(self, row: dict[str, str]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._names, lineterminator="\n").writerow(row)
        return text.getvalue()


class JsonLines:
    """A JSON object a line.

    ``path``, ``label`` (the answer: a class, or ``unsure``) and ``top``, a list of ``class`` and ``probability``, the
    most probable first; or ``path`` and ``error``.
    """

    def __init__(self, class_names: Sequence[str], top_k: int) -> None:
        self._top_k = min(top_k, len(class_names))

    def head(self) -> str:
        return ""

    def line(self, one: Prediction | Failure) -> str:
        if isinstance(one, Failure):
            return _json({"path": one.path, "error": one.reason})
        top = [{"class": name, "probability": round(probability, 6)} for name, probability in one.top(self._top_k)]
        return _json({"path": one.path, "label": one.answer, "top": top})


LAYOUTS: dict[str, type[Table] | type[Csv] | type[JsonLines]] = {"table": Table, "csv": Csv, "jsonl": JsonLines}


def _json(value: dict[str, object]) -> str:
    text = json.dumps(value, ensure_ascii=False)
    # A name that is not UTF-8 is none in JSON: its bytes are then written as escapes, as Python reads them back.
    return (text if text.isprintable() else json.dumps(value)) + "\n"


def printable(text: str) -> str:
    """Text with escapes in place of what a terminal would not print: line ends, control characters, and bytes of names
    that are not UTF-8."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
