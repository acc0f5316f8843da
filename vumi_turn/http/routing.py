"""Answers in JSON of a klein application that has no route for a request."""

from __future__ import annotations

from typing import Callable

from klein import Klein
from twisted.python.failure import Failure
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as WrongMethod

from .errors import ApiError, MethodNotAllowed, NotFound
from .responses import respond_error

#: Is told of a request that goes nowhere.
Note = Callable[[Request, ApiError], None]


def answer_routing_errors(app: Klein, note: Note = lambda request, error: None) -> None:
    """
    Let a klein application answer in JSON where it has no route.

    :param note: is told of each POST that goes nowhere: its sender may have
        been told another path than ours.
    """

    def refuse(request: Request, failure: Failure) -> bytes:
        error = failure.value
        if isinstance(error, WrongMethod):
            return respond_error(request, MethodNotAllowed(allow=sorted(error.valid_methods or ())))
        missing = NotFound()
        if request.method == b"POST":
            note(request, missing)
        return respond_error(request, missing)

    app.handle_errors(HTTPException)(refuse)
