"""What all commands share: how they end."""

from __future__ import annotations

import errno
from collections.abc import Callable

from tl_toolkit.core import console
from tl_toolkit.core.errors import UserError

_USERS_TO_MEND = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS}


def ended(command: Callable[[], None]) -> int:
    """Run a command and give its exit code: 2 for what the user can mend, 130 for Ctrl-C; our own defects raise."""
    try:
        command()
    except UserError as error:
        console.error(str(error))
        return 2
    except OSError as error:
        if error.errno not in _USERS_TO_MEND:
            raise
        where = f" ({error.filename})" if error.filename else ""
        console.error(f"{error.strerror}{where}: make room or grant permission, then run again.")
        return 2
    except KeyboardInterrupt:
        console.error("Interrupted. What was computed stays in the cache; run again to go on.")
        return 130
    return 0
