"""What the machine has of what the package needs."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tl_toolkit.core.runs import environment
from tl_toolkit.core.runtime import tensorflow


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One line of a diagnosis.

    Attributes:
        what: What was looked at.
        found: What was found; where it is missing, what to do.
        ok: Whether it is there.
        needed: Whether the main job fails without it.
    """

    what: str
    found: str
    ok: bool = True
    needed: bool = True


def machine() -> list[Finding]:
    """Python, libraries, cores, memory and accelerators."""
    known = environment()
    findings = [
        Finding(what="python", found=f"{known['python']} on {known['platform']}"),
        Finding(what="cores", found=str(known["cores"])),
        Finding(what="memory", found=f"{known['memory_bytes'] / 2**30:.1f} GiB"),
    ]
    for name, version in known["libraries"].items():
        found = version or f"not installed: pip install {name}"
        findings.append(Finding(what=name, found=found, ok=version is not None))
    accelerators = [
        device.name for device in tensorflow().config.list_physical_devices() if device.device_type != "CPU"
    ]
    findings.append(Finding(what="accelerators", found=", ".join(accelerators) or "none (none is needed)"))
    return findings


def folder(what: str, path: Path) -> Finding:
    """Whether a folder can be written to, or made; and how much room there is."""
    existing = next(parent for parent in (path, *path.parents) if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding(what=what, found=f"{path} cannot be written ({error.strerror}): grant permission", ok=False)
    held = sum(file.stat().st_size for file in path.rglob("*") if file.is_file()) if path.is_dir() else 0
    free = shutil.disk_usage(existing).free
    state = f"{held / 1e6:.0f} MB" if path.is_dir() else "not made yet"
    return Finding(what=what, found=f"{path} ({state}; {free / 1e9:.0f} GB free)")


def variables(*names: str) -> list[Finding]:
    """Environment variables that change where things are looked for."""
    return [Finding(what=f"${name}", found=os.environ.get(name) or "not set") for name in names]
