"""The report: one section a file, each a record that is computed from a saved run, and a drawing of that record.

A section's module holds ``SECTION``, and its template is ``templates/<name>.html.j2``. The order here is the order on
the page: how good, where it fails, why to trust the figure, what the search found, what to do next, how to use it.
"""

from tl_toolkit.core.registry import Registry

_NAMES = (
    "headline",
    "per_class",
    "confusion",
    "mistakes",
    "calibration",
    "training",
    "search",
    "data_quality",
    "next_steps",
    "model_card",
)

REGISTRY = Registry("report section", {name: f"tl_toolkit.sections.{name}:SECTION" for name in _NAMES})
