"""Networks that are trained from nothing, on the pixels of the photos alone."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry(
    "network",
    {
        "slash_cnn": "tl_toolkit.networks.slash_cnn:NETWORK",
        "cifar_cnn": "tl_toolkit.networks.cifar_cnn:NETWORK",
        "cifar_fast": "tl_toolkit.networks.cifar_fast:NETWORK",
    },
)
