"""Pretrained feature extractors, and the feature bank that remembers what they said."""

from tl_toolkit.core.registry import Registry

REGISTRY = Registry(
    "backbone",
    {
        "efficientnet_lite0": "tl_toolkit.backbones.efficientnet_lite:LITE0",
        "efficientnet_lite1": "tl_toolkit.backbones.efficientnet_lite:LITE1",
        "efficientnet_lite2": "tl_toolkit.backbones.efficientnet_lite:LITE2",
        "efficientnet_lite0_levels": "tl_toolkit.backbones.efficientnet_lite:LITE0_LEVELS",
        "efficientnet_lite1_multilevel": "tl_toolkit.backbones.efficientnet_lite:LITE1_MULTILEVEL",
        "efficientnet_lite2_multilevel": "tl_toolkit.backbones.efficientnet_lite:LITE2_MULTILEVEL",
    },
)
