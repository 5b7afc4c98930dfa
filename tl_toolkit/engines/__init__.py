"""What proposes configurations: spaces, and the engines that search them."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry("engine", {"optuna": "tl_toolkit.engines.optuna_engine:search"})
