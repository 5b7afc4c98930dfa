"""Networks trained end to end in Keras: from pixels to probabilities, with every layer that is not frozen.

Not by ``Model.fit``: a training that was killed goes on to the same bits, trainings of one shape share a compiled step,
and a search looks at them on their way. Tests hold that the result is that of ``fit``.
"""

VERSION = 3
"""Part of the identity of trainings: raise it when the same settings and seed would give other weights or answers."""
