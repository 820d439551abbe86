"""Routes that read: recall, and sessions."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from pydantic import ValidationError
from pydantic_core import from_json

from recall.api.answers import Json
from recall.api.gate import Asker, Running
from recall.contract.errors import Invalid
from recall.contract.fields import Id
from recall.contract.refusals import sentence
from recall.contract.values import Question
from recall.database.caller import Caller
from recall.memory import sessions
from recall.runtime.service import Service

routes = APIRouter()

Limit = Annotated[int, Query(ge=1, le=200)]
#: Fields of a question that a URL may repeat.
MANY = {"kinds", "session_ids", "exclude_session_ids", "roles", "authors"}
OBJECTS = {"neighbors", "metadata"}


@routes.post("/recall")
async def recall(request: Request, question: Question, caller: Asker, running: Running) -> Json:
    """Find the memories that a question is about, best first."""
    return await _recall(request, question, caller, running)


@routes.get("/recall")
async def recall_by_url(request: Request, caller: Asker, running: Running) -> Json:
    """Do the same for `?q=…`; a list is given by repeating its field, an object as JSON."""
    given: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        given["query" if name == "q" else name] = values if name in MANY else values[-1]
    try:
        for name in OBJECTS & given.keys():
            given[name] = from_json(given[name], allow_inf_nan=False)
        question = Question.model_validate(given)
    except ValidationError as error:
        field, message = sentence(error)
        raise Invalid(message, field) from error
    except ValueError as error:
        raise Invalid(f"{name} must be a JSON object.", name) from error
    return await _recall(request, question, caller, running)


@routes.get("/sessions")
async def get_sessions(
    caller: Asker, running: Running, cursor: str | None = None, limit: Limit = 50
) -> Json:
    """List sessions, those with the newest message first."""
    page = await sessions.list_sessions(running.database, caller, cursor, limit)
    rows = [{"session_id": row.pop("key"), **_without_id(row)} for row in page.rows]
    return Json({"sessions": rows, "previous": page.previous, "next": page.next})


@routes.get("/sessions/{session_id:path}/messages")
async def get_messages(
    session_id: Annotated[Id, Path()],
    caller: Asker,
    running: Running,
    cursor: str | None = None,
    limit: Limit = 50,
) -> Json:
    """List a session's messages, oldest first."""
    page = await sessions.list_messages(running.database, caller, session_id, cursor, limit)
    return Json({"messages": page.rows, "previous": page.previous, "next": page.next})


def _without_id(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


async def _recall(request: Request, question: Question, caller: Caller, running: Service) -> Json:
    answer = await running.searcher.recall(caller, question)
    request.app.state.metrics.question(answer)
    return Json(answer, without=_not_asked_for(question))


def _not_asked_for(question: Question) -> dict[str, Any]:
    """Return which fields of an answer the question has no use for, as `Json` leaves them out."""
    of_hits = {name for name in ("neighbors", "explain") if not getattr(question, name)}
    of_answer = {"left_out": True} if question.max_tokens is None else {}
    return of_answer | {"results": {"__all__": of_hits}}
