"""What proposes configurations: spaces, and the engines that search them."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry(
    "engine",
    {
        "optuna": "tl_toolkit.engines.optuna_engine:search",
        "keras-tuner": "tl_toolkit.engines.keras_tuner_engine:bayesian",
        "keras-tuner-hyperband": "tl_toolkit.engines.keras_tuner_engine:hyperband",
        "keras-tuner-random": "tl_toolkit.engines.keras_tuner_engine:random",
    },
)
