"""Image classifiers from small folders of labelled photos, with an honest statement of how good they are."""

__version__ = "0.1.0"
