"""
Whose fault it is that Turn refuses: the messages', or that of our set-up.
"""

from __future__ import annotations

#: So many refusals in a row are the messages' fault; more are that of our set-up …
REFUSALS_IN_A_ROW = 20

#: … if they were of so many people.
PEOPLE = 5


class Refusals:
    """Counts refusals in a row, without one acceptance."""

    def __init__(self) -> None:
        self._count = 0
        self._people: set[str] = set()

    def accepted(self) -> None:
        """Turn has accepted a request."""
        if self._count:
            self._count = 0
            self._people.clear()

    def refused(self, person: str) -> bool:
        """
        Turn has refused a request.

        :param person: whose it was.
        :return: whether there are too many for it to be the messages' fault.
        """
        self._count += 1
        if len(self._people) < PEOPLE:
            self._people.add(person)
        return self._count > REFUSALS_IN_A_ROW and len(self._people) >= PEOPLE
