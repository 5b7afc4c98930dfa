"""The only corridor: each function is a job of the toolkit, and knows the rooms that it passes through.

Read :mod:`~tl_toolkit.pipeline.searching` first: it is the main job.
"""

from tl_toolkit.pipeline.data import Prepared, find_data, prepare, views_of
from tl_toolkit.pipeline.diagnosing import diagnose
from tl_toolkit.pipeline.evaluating import EvaluateOptions, FolderEvaluation, evaluate_folder
from tl_toolkit.pipeline.exploring import Exploration, explore
from tl_toolkit.pipeline.exporting import export
from tl_toolkit.pipeline.leaking import LeakCheck, LeakOptions, find_leaks
from tl_toolkit.pipeline.options import ExportOptions, SearchOptions, TrainOptions
from tl_toolkit.pipeline.predicting import PredictOptions, Tally, load_model, predict
from tl_toolkit.pipeline.rediscovering import Rediscovery, RediscoveryOptions, rediscover
from tl_toolkit.pipeline.reporting import compare_runs, index, report
from tl_toolkit.pipeline.searching import Outcome, search
from tl_toolkit.pipeline.serving import ServeOptions, serve
from tl_toolkit.pipeline.training import train

__all__ = [
    "EvaluateOptions",
    "Exploration",
    "ExportOptions",
    "FolderEvaluation",
    "LeakCheck",
    "LeakOptions",
    "Outcome",
    "PredictOptions",
    "Prepared",
    "Rediscovery",
    "RediscoveryOptions",
    "SearchOptions",
    "ServeOptions",
    "Tally",
    "TrainOptions",
    "compare_runs",
    "diagnose",
    "evaluate_folder",
    "explore",
    "export",
    "find_data",
    "find_leaks",
    "index",
    "load_model",
    "predict",
    "prepare",
    "rediscover",
    "report",
    "search",
    "serve",
    "train",
    "views_of",
]
