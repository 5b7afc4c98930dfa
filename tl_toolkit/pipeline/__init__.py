"""The only corridor: each function is a job of the toolkit, and knows the rooms that it passes through.

Read :mod:`~tl_toolkit.pipeline.searching` first: it is the main job.
"""

from tl_toolkit.pipeline.data import Prepared, find_data, prepare, views_of
from tl_toolkit.pipeline.diagnosing import diagnose
from tl_toolkit.pipeline.exploring import Exploration, explore
from tl_toolkit.pipeline.options import SearchOptions
from tl_toolkit.pipeline.reporting import compare_runs, index, report
from tl_toolkit.pipeline.searching import Outcome, search

__all__ = [
    "Exploration",
    "Outcome",
    "Prepared",
    "SearchOptions",
    "compare_runs",
    "diagnose",
    "explore",
    "find_data",
    "index",
    "prepare",
    "report",
    "search",
    "views_of",
]
