"""Data sets: known ones by name, any other by the path of a folder of class folders."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry(
    "data set",
    {
        "slash": "tl_toolkit.datasets.load:slash_or_sample",
        "slash_sample": "tl_toolkit.datasets.load:slash_sample",
        "cifar10": "tl_toolkit.datasets.cifar10:load",
    },
)
