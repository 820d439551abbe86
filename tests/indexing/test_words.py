# ruff: noqa: RUF001  (strange letters are what this is about)
"""Words: identifiers whole and in parts, languages without spaces, phrases and exclusions."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from strategies import texts

from recall.indexing import words
from recall.indexing.words import atoms, question_words, tokens


def found(text: str) -> set[str]:
    return {token.text for token in tokens(text)}


@given(texts)
def test_any_text_has_lower_case_tokens_without_white_space(text: str) -> None:
    for token in tokens(text):
        assert token.text
        assert token.text.lower() == token.text
        assert token.text.split() == [token.text]
        assert "\x00" not in token.text
        assert len(token.text) <= 100


@given(texts)
def test_places_count_from_one_and_never_go_back(text: str) -> None:
    places = [token.place for token in tokens(text)]
    assert places == sorted(places)
    assert places[:1] in ([], [1])


@given(texts)
def test_a_text_finds_itself(text: str) -> None:
    """Every atom of a text is among its tokens: what a phrase is compared by is indexed."""
    assert set(atoms(text)) <= found(text)


@given(texts)
def test_the_composed_and_the_decomposed_form_are_the_same_words(text: str) -> None:
    assert tokens(unicodedata.normalize("NFC", text)) == tokens(unicodedata.normalize("NFD", text))


@given(texts)
def test_any_question_has_words(text: str) -> None:
    words = question_words(text)
    assert len(set(words.tokens)) == len(words.tokens)
    assert all(words.phrases) and all(words.excluded)
    for token in (*words.tokens, *sum(words.phrases + words.excluded, ())):
        assert token.split() == [token]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ERR_CONN_42", {"err_conn_42", "err", "conn", "42"}),
        ("getUserName", {"getusername", "get", "user", "name"}),
        ("HTTPServer", {"httpserver", "http", "server"}),
        ("recall/api/app.py", {"recall/api/app.py", "recall", "api", "app.py", "app", "py"}),
        ("user@example.org", {"user@example.org", "user", "example.org", "example", "org"}),
        ("v18.2.1", {"v18.2.1", "18.2.1"}),
        ("18.2", {"18.2"}),
        ("snake_case", {"snake_case", "snake", "case"}),
        ("well-known", {"well-known", "well", "known"}),
        ("plain", {"plain"}),
        ("Title", {"title"}),
    ],
)
def test_an_identifier_is_found_whole_and_in_parts(text: str, expected: set[str]) -> None:
    assert found(text) == expected


def test_a_url_is_found_by_its_host() -> None:
    assert {"neon.tech", "docs"} <= found("see https://neon.tech/docs/a for it")


def test_punctuation_around_a_word_is_no_part_of_it() -> None:
    assert found("(the end).") == {"the", "end"}


def test_chinese_is_cut_into_characters_and_pairs() -> None:
    assert found("数据库") == {"数", "据", "库", "数据", "据库"}


def test_korean_and_japanese_are_cut_likewise() -> None:
    assert {"안녕", "テス"} <= found("안녕하세요 テスト")


def test_mixed_scripts_part_where_the_script_changes() -> None:
    assert {"postgres", "数据"} <= found("Postgres数据库")


def test_compatibility_forms_are_the_words_they_look_like() -> None:
    assert found("ﬁne １２ Ｎｅｏｎ") == {"fine", "12", "neon"}


def test_encoded_data_is_no_word() -> None:
    assert found("a" * 101) == set()
    assert found("a" * 100) == {"a" * 100}


def test_a_phrase_stands_apart_and_counts_as_words_too() -> None:
    words = question_words('who said "idle connections" first')
    assert words.phrases == (("idle", "connections"),)
    assert {"who", "said", "idle", "connections", "first"} <= set(words.tokens)


def test_an_excluded_word_is_not_asked_for() -> None:
    words = question_words("pooler -neon")
    assert words.excluded == (("neon",),)
    assert "neon" not in words.tokens


def test_an_excluded_phrase_is_not_asked_for() -> None:
    words = question_words('pooler -"idle connections"')
    assert words.excluded == (("idle", "connections"),)
    assert words.tokens == ("pooler",)


def test_a_hyphen_inside_a_word_excludes_nothing() -> None:
    assert question_words("well-known a - b").excluded == ()


def test_an_unclosed_quote_is_only_a_mark() -> None:
    words = question_words('say "hello')
    assert words.phrases == ()
    assert set(words.tokens) == {"say", "hello"}


def test_a_long_run_is_cut_anew_and_never_remembered() -> None:
    """What is remembered is bounded in number, so it has to be bounded in size too."""
    before = words._cut_once.cache_info().currsize
    for n in range(20):
        long = f"a{n}/" * 200
        wide = "".join(chr(0x4E00 + n + place) for place in range(200))
        assert len(atoms(f"{long} {wide}")) > 400
    assert words._cut_once.cache_info().currsize == before
    atoms("remembered-from-now-on")
    assert words._cut_once.cache_info().currsize == before + 1


def test_a_run_of_many_parts_costs_in_proportion() -> None:
    """Twenty times the parts would be four hundred times the work if each met each."""

    def seconds(parts: int) -> float:
        run = "/".join(f"part{n}x" for n in range(parts))
        begun = time.perf_counter()
        assert len(tokens(run)) > parts
        return time.perf_counter() - begun

    assert min(seconds(20_000) for _ in range(3)) < 150 * min(seconds(1_000) for _ in range(3))
