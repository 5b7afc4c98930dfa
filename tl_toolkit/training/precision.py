"""Mixed precision where it helps: products in bfloat16, weights and sums in float32.

bfloat16 has the range of float32, so the loss needs no scaling. It is quicker where the hardware multiplies it: GPUs of
compute capability 8 and up, and CPUs with AVX512-BF16 or AMX-BF16 (a step of a residual network on 32 px photos there:
2.9 ms a photo instead of 4.0). Elsewhere it is emulated: a step of slash_cnn takes six times as long on a CPU without
AVX-512, so such machines stay with float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from tl_toolkit.core.runtime import tensorflow
from tl_toolkit.core.settings import FINE_TUNED

Precision = Literal["auto", "float32", "mixed_bfloat16"]

_HELPFUL = {"avx512_bf16", "amx_bf16"}


def dtype_policy(kind: Precision, network: str, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Keras' name of the dtype policy to build with: ``kind``, or what suits this machine where it is ``auto``.

    Args:
        network: That of the settings. Pretrained backbones are made of depthwise convolutions, for which CPUs have no
            products in bfloat16: a step of one at 128 px took 9.4 ms a photo instead of 6.4.
        cpuinfo: Where Linux lists the CPU's abilities; on other systems there is no such file, and float32 is right.
    """
    if kind != "auto":
        return kind
    config = tensorflow().config
    gpus = config.list_physical_devices("GPU")
    if gpus:
        capable = all(
            config.experimental.get_device_details(gpu).get("compute_capability", (0, 0)) >= (8, 0) for gpu in gpus
        )
    else:
        capable = network != FINE_TUNED and cpuinfo.exists() and not _HELPFUL.isdisjoint(cpuinfo.read_text().split())
    return "mixed_bfloat16" if capable else "float32"
