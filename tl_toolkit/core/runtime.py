"""TensorFlow, quietly, and only when it is needed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def native_messages_held() -> Iterator[None]:
    """Keep back what native libraries write to standard error, and show it after all if the block fails.

    TensorFlow's libraries announce themselves before any logging level is in force; no setting silences that.
    """
    try:
        descriptor = sys.__stderr__.fileno() if sys.__stderr__ else -1
    except (OSError, ValueError):
        descriptor = -1
    if descriptor < 0:
        yield
        return
    saved = os.dup(descriptor)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), descriptor)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(saved, held.read())
            raise
        finally:
            os.dup2(saved, descriptor)
            os.close(saved)


def tensorflow() -> Any:
    """The module ``tensorflow``, imported without its announcements."""
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    # What goes wrong is raised, too. Logged as errors are also which types oneDNN does not support on this CPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    # TensorFlow uses oneDNN by itself only where the CPU has AVX-512; a step of slash_cnn is 1.4 times as fast with it
    # on a CPU that has AVX2 alone.
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with native_messages_held():
        import tensorflow as tf

        # The first operation makes the device, which announces itself, too.
        tf.constant(0)
    # Its warnings are about how this package calls it: another shape of heads is another program, on purpose.
    tf.get_logger().setLevel("ERROR")
    return tf


def keras() -> Any:
    """The module ``keras`` on TensorFlow."""
    tensorflow()
    import keras

    return keras
