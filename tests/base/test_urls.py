"""URLs as people paste them: read as libpq reads them, or refused without the password."""

from __future__ import annotations

from urllib.parse import quote, unquote, urlsplit

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict

from recall.base import urls
from recall.base.settings import Settings
from recall.contract.errors import Misconfigured

SECRET = "S3cretPw9"
PLAIN = f"postgresql://ann:{SECRET}@h/db"


@pytest.mark.parametrize(
    ("pasted", "read"),
    [
        (PLAIN, PLAIN),
        (f"  {PLAIN}\n", PLAIN),
        (f"\ufeff{PLAIN}\u200b", PLAIN),
        (f"psql '{PLAIN}'", PLAIN),
        (f"psql '{PLAIN}' -c 'select 1'", PLAIN),
        (f'psql -d "{PLAIN}"', PLAIN),
        (f"psql \\\n  '{PLAIN}'", PLAIN),
        (f"psql {PLAIN}", PLAIN),
        (f"DATABASE_URL={PLAIN}", PLAIN),
        (f"export DATABASE_URL='{PLAIN}'", PLAIN),
        (f'$env:DATABASE_URL="{PLAIN}"', PLAIN),
        (f'  database_url: "{PLAIN}"', PLAIN),
        (f"\u201c{PLAIN}\u201d", PLAIN),
        (f"<{PLAIN}>", PLAIN),
        (f"`{PLAIN}`;", PLAIN),
        (f"postgres://ann:{SECRET}@h/db", PLAIN),
        (f"POSTGRESQL://ann:{SECRET}@h/db", PLAIN),
        (f"postgresql+asyncpg://ann:{SECRET}@h/db?ssl=require", f"{PLAIN}?sslmode=require"),
        (f"postgres+psycopg2://ann:{SECRET}@h/db", PLAIN),
        (f"jdbc:postgresql://h/db?user=ann&password={SECRET}&ssl=true", f"{PLAIN}?sslmode=require"),
        (f"{PLAIN}?schema=public&pgbouncer=true&connection_limit=1", PLAIN),
        (f"{PLAIN}?prepared_statements=false&async_fallback=true", PLAIN),
        (f"{PLAIN}?sslmode=no-verify", f"{PLAIN}?sslmode=require"),
        (f"{PLAIN}?sslmode=VERIFY_FULL", f"{PLAIN}?sslmode=verify-full"),
        (f"{PLAIN}?ssl=false", f"{PLAIN}?sslmode=disable"),
        (
            f"{PLAIN}?sslmode=require&channel_binding=require",
            f"{PLAIN}?sslmode=require&channel_binding=require",
        ),
        ("postgresql://ann:a#b?c@h/db", "postgresql://ann:a%23b%3Fc@h/db"),
        ("postgresql://ann:[a@h/db", "postgresql://ann:%5Ba@h/db"),
        ("postgresql://ann:a:b@h/db", "postgresql://ann:a%3Ab@h/db"),
        ("postgresql://ann:a%40%2F%25@h/db", "postgresql://ann:a%40%2F%25@h/db"),
        ("postgresql://ann@[::1]:5433/db", "postgresql://ann@[::1]:5433/db"),
        ("postgresql://h1:1,h2:2/db", "postgresql://h1:1,h2:2/db"),
        (
            "postgresql://postgres@/db?host=/run/my%20pg&port=5432",
            "postgresql://postgres@/db?host=/run/my%20pg&port=5432",
        ),
        (f"host=h dbname=db user=ann password='{SECRET}'", f"postgresql://ann:{SECRET}@/db?host=h"),
        (
            f'psql "host=h dbname=db user=ann password={SECRET}"',
            f"postgresql://ann:{SECRET}@/db?host=h",
        ),
        (
            f"Host=h;Database=db;Username=ann;Password={SECRET};SSL Mode=Require",
            f"postgresql://ann:{SECRET}@/db?host=h&sslmode=require",
        ),
        ("service=mine", "postgresql:///?service=mine"),
        ("", ""),
        (" \n", ""),
        ('""', ""),
    ],
)
def test_what_is_pasted_is_read(pasted: str, read: str) -> None:
    assert urls.read_url(pasted) == read
    assert urls.read_url(read) == read


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        (f"postgresql://ann:{SECRET}@x@h/db", "an @ or a / in its password"),
        (f"postgresql://ann:{SECRET}/x@h/db", "an @ or a / in its password"),
        (f"postgresql://ann:12/{SECRET}@h/db", "an @ or a / in its password"),
        (f"postgresql://ann:{SECRET}%zz@h/db", "a % in its password"),
        (f"postgresql://ann:{SECRET}@h%/db", "a % in its host"),
        (f"postgresql://ann:{SECRET}@[bad/db", "no host that can be read"),
        (f"postgresql://ann:{SECRET}@h:abc/db", "no host that can be read"),
        (f"postgresql://ann:{SECRET}", "no host that can be read"),
        (f"postgresql://ann:{SECRET}@h:70000/db", "1 to 65535"),
        (f"postgresql://ann:{SECRET}@h /db", "white space"),
        (f"{PLAIN}?frobnicate=1", "a parameter frobnicate that"),
        (f"{PLAIN}?sslmod=require", "did you mean sslmode?"),
        (f"{PLAIN}?sslmode=strict", "an sslmode that"),
        (f"postgresql://h/db?password=a&{SECRET}=1", "has a parameter that"),
        (f"postgresql://ann:1/a?{SECRET}=1@h/db", "has a parameter that"),
        ("postgresql://ann:********@h/db", "stars for a password"),
        (f"mysql://ann:{SECRET}@h/db", "begins with mysql://"),
        (f"{SECRET}://h", "is a URL of something else"),
        ("sqlite:///chat.db", "begins with sqlite://"),
        ("https://console.neon.tech/app", "begins with https://"),
        (f"host=h password='{SECRET}", "neither a URL nor pairs"),
        (f"psql -h h -U ann {SECRET}", "is not a URL of Postgres"),
        (SECRET, "is not a URL of Postgres"),
    ],
)
def test_what_cannot_be_read_is_refused_without_the_password(pasted: str, said: str) -> None:
    with pytest.raises(Misconfigured, match=r"^DATABASE_URL ") as refused:
        Settings.load(database_url=pasted)
    assert said in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.__cause__ is None, "what libpq says may hold the password"


def test_the_setting_that_is_wrong_is_named() -> None:
    with pytest.raises(Misconfigured, match=r"^DATABASE_DIRECT_URL is not"):
        Settings.load(database_url=PLAIN, database_direct_url="foo")
    with pytest.raises(Misconfigured, match="set DATABASE_URL as well"):
        Settings.load(database_direct_url=PLAIN)


WRAPS = ("{}", "  {}\n", "psql '{}'", 'export DATABASE_URL="{}"', "DATABASE_URL={}", "psql {}")
SCHEMES = (
    "postgresql://",
    "postgres://",
    "postgresql+asyncpg://",
    "jdbc:postgresql://",
    "mysql://",
)
BEHIND = ("@h/db", "@h:5/db?sslmode=require", "@[::1]/db", "@h", "", "/db", "@a,b/db?ssl=1", "@[x/")


@given(
    st.text(st.sampled_from("S3cr%@/?#[]:&= '\"\\\u00e9,;+*"), min_size=1, max_size=9),
    st.sampled_from(WRAPS),
    st.sampled_from(SCHEMES),
    st.sampled_from(BEHIND),
)
def test_whatever_is_pasted_only_a_sentence_without_the_password_comes_out(
    inside: str, wrap: str, scheme: str, behind: str
) -> None:
    password = f"Zq7{inside}xK2"
    pasted = wrap.format(f"{scheme}ann:{password}{behind}")
    for read in (urls.read_url, urls.source):
        try:
            found = read(pasted)
        except Misconfigured as error:
            assert "Zq7" not in str(error) and "xK2" not in str(error), str(error)
        else:
            assert read(found) == found
            if read is urls.read_url and found:
                assert urls.read_url(urls.direct(found)) == urls.direct(found)
                assert "Zq7" not in urls.hosts_of(found)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (urls.read_url, urls.source):
        try:
            read(text)
        except Misconfigured as error:
            assert str(error)


@example("/")
@example("/etc/passwd")
@given(st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=12))
def test_a_password_that_is_encoded_arrives_as_it_is(password: str) -> None:
    if set(password) <= {"*", "\u2022"}:
        return
    found = urls.read_url(f"psql 'postgresql://ann:{quote(password, safe='')}@h/db'")
    assert conninfo_to_dict(found)["password"] == password
    assert unquote(urlsplit(found).password or "") == password


@given(st.text(st.sampled_from("ab1:@/?#[]&=%2,."), max_size=14))
def test_what_libpq_reads_is_read_as_libpq_reads_it_or_refused(rest: str) -> None:
    text = f"postgresql://{rest}"
    try:
        theirs = conninfo_to_dict(text)
        ours = conninfo_to_dict(urls.read_url(text))
    except (psycopg.Error, Misconfigured):
        return
    empty = {None, ""}
    for name in ("user", "password", "host", "port", "dbname"):
        a, b = ours.get(name), theirs.get(name)
        same = a == b or {a, b} <= empty or str(a).strip(",") == str(b).strip(",")
        assert same, (name, ours, theirs)


@pytest.mark.parametrize(
    ("pooled", "direct"),
    [
        ("postgresql://u@ep-a-1-pooler.x.neon.tech/db", "postgresql://u@ep-a-1.x.neon.tech/db"),
        ("postgresql://u:p-pooler.x@h/db-pooler.y", "postgresql://u:p-pooler.x@h/db-pooler.y"),
        ("postgresql://u@a-pooler.x:1,b-pooler.y:2/db", "postgresql://u@a.x:1,b.y:2/db"),
        ("postgresql://u@/db?host=a-pooler.x", "postgresql://u@/db?host=a.x"),
        ("postgresql://u@[::1]:5432/db", "postgresql://u@[::1]:5432/db"),
        ("postgresql://u@my-pooler/db", "postgresql://u@my/db"),
    ],
)
def test_the_direct_url_of_neon_is_derived(pooled: str, direct: str) -> None:
    assert urls.direct(pooled) == direct


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("chat.jsonl", "chat.jsonl"),
        ("/home/ann/my chat's.db", "/home/ann/my chat's.db"),
        ("$CHAT_URL", "$CHAT_URL"),
        ("conv_1", "conv_1"),
        ("sqlite:///chat.db", "sqlite:///chat.db"),
        ("'mysql+pymysql://u@h/db'", "mysql+pymysql://u@h/db"),
        (f"psql '{PLAIN}?sslmode=require'", f"{PLAIN}?sslmode=require"),
    ],
)
def test_a_source_is_a_file_or_a_url(given: str, read: str) -> None:
    assert urls.source(given) == read


@pytest.mark.parametrize(
    "given", ["redis://u:hush@h/0", "https://h/x", f"psql -h h 'password={SECRET}'", "x://hush"]
)
def test_what_no_source_can_be_is_not_taken_for_a_file(given: str) -> None:
    with pytest.raises(Misconfigured, match=r"^The URL ") as refused:
        urls.source(given)
    assert "hush" not in str(refused.value) and SECRET not in str(refused.value)


def test_a_password_in_a_url_is_seen_wherever_it_stands() -> None:
    for url in (
        PLAIN,
        "postgresql://h/d?password=x",
        "mysql://u:p@h/d",
        "postgresql:///d?passwd=x",
    ):
        assert urls.holds_password(url), url
    for url in ("postgresql://u@h:5432/d", "postgresql://h/d?sslmode=require", "a:b@c.jsonl"):
        assert not urls.holds_password(url), url
