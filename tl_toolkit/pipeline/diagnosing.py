"""What this machine has of what the main job needs."""

from __future__ import annotations

from tl_toolkit.backbones import REGISTRY as BACKBONES
from tl_toolkit.core import diagnosis
from tl_toolkit.core.diagnosis import Finding
from tl_toolkit.core.errors import UserError
from tl_toolkit.core.files import CACHE_VARIABLE, cache_folder
from tl_toolkit.datasets import cifar10, slash


def diagnose() -> list[Finding]:
    """What this machine has of what the main job needs: ``python -m tl_toolkit.doctor``."""
    variables = slash.DATA_VARIABLE, slash.URL_VARIABLE, cifar10.URL_VARIABLE, CACHE_VARIABLE
    findings = [*diagnosis.machine(), *diagnosis.variables(*variables)]
    findings.append(diagnosis.folder("cache", cache_folder()))
    findings.append(diagnosis.folder("downloaded data", slash.user_folder()))
    found = slash.locate(None)
    advice = "not on this machine: the first search downloads them (228 MB), or goes on with a drawn sample"
    findings.append(Finding(what="Slash photos", found=str(found or advice), ok=found is not None, needed=False))
    for name in BACKBONES:
        backbone = BACKBONES.get(name)
        try:
            findings.append(Finding(what=f"weights of {name}", found=str(backbone.weights())))
        except UserError as error:
            findings.append(Finding(what=f"weights of {name}", found=str(error), ok=False))
    return findings
