"""From values that an engine proposes to the settings of a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tl_toolkit.core.searches import SearchSpace
from tl_toolkit.core.settings import FINE_TUNED, FROZEN, NO_BACKBONE, TrainingConfig

_NEUTRAL = {"strength": 0.0, "views": 1}


def config_from(space: SearchSpace, values: Mapping[str, Any]) -> TrainingConfig:
    """The settings of a trial: ``values`` of the searched parameters, the space's fixed values, else defaults.

    With the augmentation ``none``, fixed ``strength`` and ``views`` give way to 0.0 and 1; with a network from scratch,
    a fixed ``backbone`` to ``none``.

    Raises:
        ValueError: ``values`` holds a field that is not searched, or a parameter whose condition fails; or the
            settings contradict one another.
    """
    parameters = {parameter.name: parameter for parameter in space.parameters}
    for name, value in values.items():
        if name not in parameters:
            raise ValueError(f"only searched parameters have values, got {name}={value!r}")
        if not parameters[name].applies(values):
            raise ValueError(f"{name} exists only when {dict(parameters[name].when)}, got {dict(values)}")
    return completed(space.fixed, values)


def most_epochs(space: SearchSpace) -> int:
    """The epochs of the longest training that the space can propose; the reference may be longer."""
    searched = [p for p in space.parameters if p.name == "epochs"]
    # A parameter with a condition leaves the default where that fails.
    unset = [space.fixed.get("epochs", TrainingConfig().epochs)] if not searched or searched[0].when else []
    proposed = [*searched[0].choices, searched[0].high] if searched else []
    return max(int(epochs) for epochs in (*proposed, *unset) if epochs is not None)


def completed(fixed: Mapping[str, Any], chosen: Mapping[str, Any]) -> TrainingConfig:
    """Settings of which ``chosen`` and, else, ``fixed`` fields are given; what these rule out has its neutral value."""
    settings = {**asdict(TrainingConfig()), **fixed, **chosen}
    neutral: dict[str, Any] = dict(_NEUTRAL) if settings["augmentation"] == "none" else {}
    if settings["network"] not in (FROZEN, FINE_TUNED):
        neutral["backbone"] = NO_BACKBONE
    return TrainingConfig(**{**settings, **neutral, **chosen})
