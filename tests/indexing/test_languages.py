"""Words are found across their forms, in the tenant's language; CJK text by words too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from recall.contract.errors import Invalid
from recall.contract.values import Note, Question
from recall.database.caller import Caller
from recall.indexing.languages import set_language
from recall.memory import keys, memories

if TYPE_CHECKING:
    from recall.database.units import Database
    from recall.indexing.worker import Worker
    from recall.retrieval.search import Searcher

pytestmark = pytest.mark.anyio

#: (language, what was said, another form or a part of it that must find it, what must not)
SAID = [
    ("english", "The deployments were failing whenever the caches expired.", "cache failed", "dog"),
    ("german", "Die Häuser am Rand der Städte wurden verkauft.", "Haus Stadt", "Hund"),
    ("french", "Les chevaux couraient lentement dans les prairies.", "prairie courait", "chien"),
    ("spanish", "Las bibliotecas prestaban semillas a los vecinos.", "biblioteca semilla", "perro"),
    ("russian", "Библиотеки выдавали семена своим читателям.", "библиотека читатель", "собака"),
    ("simple", "図書館で種を借りました。", "図書館", "自転車"),
    ("simple", "我们在图书馆借了种子。", "种子", "自行车"),
    ("simple", "도서관에서 씨앗을 빌렸습니다.", "도서관", "자전거"),
]


@pytest.mark.parametrize(("language", "said", "asked", "other"), SAID)
async def test_a_sentence_is_found_by_other_forms_of_its_words(
    database: Database,
    searcher: Searcher,
    worker: Worker,
    language: str,
    said: str,
    asked: str,
    other: str,
) -> None:
    caller = await keys.caller_of(database, "polyglot")
    await set_language(database, caller, language)
    await memories.save_notes(database, caller, [Note(content=said), Note(content="123 456")])
    await worker.drain()
    found = await searcher.recall(caller, Question(query=asked, mode="keyword"))
    assert [hit.content for hit in found.results] == [said]
    missed = await searcher.recall(caller, Question(query=other, mode="keyword"))
    assert missed.results == ()


async def test_changing_the_language_indexes_a_tenant_again(
    database: Database, searcher: Searcher, worker: Worker
) -> None:
    caller = await keys.caller_of(database, "polyglot")
    said = "Die Häuser wurden verkauft."
    await memories.save_notes(database, caller, [Note(content=said)])
    await worker.drain()
    question = Question(query="Haus", mode="keyword")
    assert (await searcher.recall(caller, question)).results == ()
    assert await set_language(database, caller, "german") == 1
    await worker.drain()
    assert [hit.content for hit in (await searcher.recall(caller, question)).results] == [said]


async def test_an_unknown_language_is_refused_with_the_list(database: Database) -> None:
    with pytest.raises(Invalid, match="one of simple, arabic"):
        await set_language(database, Caller(1), "klingon")
