"""The only corridor: each function is a job of the toolkit, and knows the rooms that it passes through.

Read :mod:`~tl_toolkit.pipeline.searching` first: it is the main job.
"""

from tl_toolkit.pipeline.data import Prepared, find_data, prepare, views_of
from tl_toolkit.pipeline.diagnosing import diagnose
from tl_toolkit.pipeline.options import SearchOptions
from tl_toolkit.pipeline.reporting import report
from tl_toolkit.pipeline.searching import Outcome, search

__all__ = ["Outcome", "Prepared", "SearchOptions", "diagnose", "find_data", "prepare", "report", "search", "views_of"]
