"""Pages from the records of finished runs."""

from __future__ import annotations

from pathlib import Path

from tl_toolkit.sections import page


def report(folder: Path) -> Path:
    """Write a run's page again, from its records: without TensorFlow and without the photos.

    Raises:
        UserError: the folder holds no finished run.
    """
    return page.build(folder)
