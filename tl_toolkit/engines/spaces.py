"""Search spaces: where they are, and reading them."""

from __future__ import annotations

from pathlib import Path

from tl_toolkit.core.errors import UnknownNameError, UserError
from tl_toolkit.core.searches import SearchSpace
from tl_toolkit.engines.space_reader import SpaceReader

GENERAL = "slash"
"""For data sets without a space of their own: nothing in it speaks of particular classes, and a copy would drift."""


def find_space(name_or_path: str) -> Path:
    """The file of a search space: the file of that path if there is one, else the installed space of that name.

    Raises:
        UnknownNameError: there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    known = _known_spaces()
    if name_or_path not in known:
        raise UnknownNameError("search space", name_or_path, known)
    return known[name_or_path]


def space_for(dataset_name: str) -> Path:
    """The file of the space that bears the data set's name, else of the general one, :data:`GENERAL`."""
    return _known_spaces().get(dataset_name) or find_space(GENERAL)


def load_space(path: Path) -> SearchSpace:
    """Read and check a search space.

    Raises:
        UserError: the file cannot be read, or says something that cannot be searched: ``<file name>:<line>: <rule>``.
    """
    try:
        content = path.read_bytes()
    except OSError as problem:
        raise UserError(f"Cannot read the search space {path}: {problem.strerror}.") from problem
    return SpaceReader(path.name).space(path.stem, content)


def _known_spaces() -> dict[str, Path]:
    package = Path(__file__).resolve().parents[1]
    # A wheel has the spaces inside the package, a checkout has them beside it.
    folders = (package.parent / "search_spaces", package / "search_spaces")
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}
