"""Imports go one way: commands, pipeline, rooms, core; and what is slow to import waits until it is used."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tl_toolkit"
MODULES = sorted(PACKAGE.rglob("*.py"))
ROOMS = sorted(folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").exists())
ENTRANCES = {"__init__", "__main__"}
HEAVY = {"tensorflow", "keras", "keras_tuner", "optuna", "albumentations"}
POLICIES = {f"augmentation/{name}.py" for name in ("light", "heavy", "none", "original")}


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def dotted(path: Path) -> tuple[str, ...]:
    """The package that relative imports of the module at ``path`` start from."""
    return ("tl_toolkit", *path.relative_to(PACKAGE).parent.parts)


def imported(nodes: Iterator[ast.AST] | list[ast.stmt], path: Path) -> Iterator[str]:
    """Full dotted names of what the import statements among ``nodes`` ask for."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = dotted(path)[: len(dotted(path)) + 1 - node.level] if node.level else ()
            origin = ".".join([*base, *([node.module] if node.module else [])])
            # `from package import module` names a module, too.
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module is imported: no function bodies, nothing under TYPE_CHECKING."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            if part == "body" and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                continue
            yield from at_import(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from at_import(handler.body)


def own_parts(path: Path) -> set[str]:
    """First part, below tl_toolkit, of everything of this package that a module imports anywhere in its text."""
    names = imported(ast.walk(ast.parse(path.read_text())), path)
    parts = {name.split(".")[1] for name in names if name.startswith("tl_toolkit.")}
    return {part for part in parts if (PACKAGE / part).is_dir() or (PACKAGE / f"{part}.py").exists()}


def misplaced_imports(path: Path) -> set[str]:
    """What a module imports of this package and must not."""
    parts = path.relative_to(PACKAGE).parts
    if parts[0] == "pipeline":
        return set()
    if len(parts) > 1:
        return own_parts(path) - {parts[0], "core"}
    return set() if path.stem in ENTRANCES else own_parts(path) - {"pipeline", "core"}


def heavy_imports(path: Path) -> set[str]:
    """The slow libraries that importing a module imports."""
    names = imported(list(at_import(ast.parse(path.read_text()).body)), path)
    return {name.split(".")[0] for name in names} & HEAVY


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path: Path) -> None:
    misplaced = misplaced_imports(path)
    assert not misplaced, f"{name_of(path)} imports {misplaced}; what rooms need of one another, pipeline passes"


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) not in POLICIES], ids=name_of)
def test_slow_libraries_are_imported_where_they_are_used(path: Path) -> None:
    assert not heavy_imports(path)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_modules_say_what_they_are_for(path: Path) -> None:
    module = ast.parse(path.read_text())
    assert ast.get_docstring(module), "no docstring"
    # Annotations are what the future import is about; a catalogue of names has none.
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.AnnAssign)
    if any(isinstance(node, kinds) for node in ast.walk(module)):
        assert "__future__.annotations" in set(imported(module.body, path))


def test_the_rooms_are_found() -> None:
    assert {"core", "datasets", "augmentation", "backbones", "heads"} <= set(ROOMS)


@pytest.mark.parametrize(
    ("place", "text", "misplaced"),
    [
        ("heads/x.py", "from tl_toolkit.backbones import REGISTRY", {"backbones"}),
        ("heads/x.py", "import tl_toolkit.datasets.splits", {"datasets"}),
        ("heads/x.py", "from tl_toolkit import datasets", {"datasets"}),
        ("heads/x.py", "def f():\n    from ..datasets import splits", {"datasets"}),
        ("heads/x.py", "from . import batched\nfrom tl_toolkit.core.records import Dataset", set()),
        ("core/x.py", "from tl_toolkit.heads import batched", {"heads"}),
        ("x.py", "import argparse\nfrom tl_toolkit.core import console", set()),
        ("x.py", "from tl_toolkit.heads.batched import train_heads", {"heads"}),
    ],
)
def test_the_import_check_sees(
    place: str, text: str, misplaced: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("core", "heads", "backbones", "datasets"):
        (tmp_path / room).mkdir()
    (tmp_path / place).write_text(text)
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert misplaced_imports(tmp_path / place) == misplaced


@pytest.mark.parametrize(
    ("text", "heavy"),
    [
        ("import tensorflow as tf", {"tensorflow"}),
        ("try:\n    from keras import layers\nexcept ImportError:\n    import optuna", {"keras", "optuna"}),
        ("class C:\n    import albumentations", {"albumentations"}),
        ("def f():\n    import tensorflow", set()),
        ("if TYPE_CHECKING:\n    import tensorflow", set()),
    ],
)
def test_the_heavy_check_sees(text: str, heavy: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.py").write_text(text)
    monkeypatch.setattr(f"{__name__}.PACKAGE", tmp_path)
    assert heavy_imports(tmp_path / "x.py") == heavy
