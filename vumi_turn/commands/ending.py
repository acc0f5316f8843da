"""
How the installed commands end.
"""

from __future__ import annotations

import os
import sys
from typing import Awaitable


async def exit_with(status: Awaitable[int]) -> None:
    """
    Wait for a command's exit status, and end with it. Where nobody reads its
    output any more (``… list | head -1``) it ends with 1, and in silence.

    :raises SystemExit: with a status other than 0.
    """
    try:
        code = await status
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes it once more at its end, and would complain then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    if code:
        raise SystemExit(code)
