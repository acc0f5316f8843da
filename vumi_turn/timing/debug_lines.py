"""
Whether anybody reads debug lines: making one for each request costs more than
some requests' own parts.
"""

from __future__ import annotations


class DebugLines:
    """
    :ivar wanted: False where the process's log leaves them out.
    """

    def __init__(self) -> None:
        self.wanted = True


#: This process's.
debug_lines = DebugLines()
