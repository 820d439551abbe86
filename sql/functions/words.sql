-- Words: from the tokens that Python cut to the lexemes that Postgres indexes, and their counts.
--
-- Python decides what a token is (identifiers whole and in parts, bigrams of Chinese, Japanese
-- and Korean); Postgres's Snowball dictionaries stem it and drop stop words. A lexeme carries its
-- tenant's id, so that a posting list and a count belong to one tenant.

create or replace function dictionary(language text) returns regdictionary
language sql immutable parallel safe
as $$ select case language when 'simple' then 'pg_catalog.simple'
             else 'pg_catalog.' || language || '_stem' end::regdictionary $$;

create or replace function lexeme_of(tenant_id integer, lexeme text) returns text
language sql immutable parallel safe
as $$ select tenant_id || ':' || lexeme $$;

-- Quote a lexeme for the text form of tsvector and tsquery.
create or replace function quoted(lexeme text) returns text
language sql immutable parallel safe
as $$ select '''' || replace(replace(lexeme, '\', '\\'), '''', '''''') || '''' $$;

-- The tsvectors of texts given as their tokens and, where they have any, their places (default: one
-- behind the other), each parted by spaces; and how many places hold a word that counts. For many
-- texts at once: a call costs more than a text.
create or replace function texts_words(
  p_tenant integer, p_language text, p_tokens text[], p_places text[] default null
) returns table (number bigint, words tsvector, length integer)
language sql stable
as $$
  with dictionary as materialized (select dictionary(p_language) as id)
  select g.number,
         coalesce(string_agg(quoted(lexeme_of(p_tenant, l.lexeme)) || ':' || least(l.place, 16383),
                             ' ' order by l.place), '')::tsvector,
         count(distinct l.place)::integer
  from unnest(p_tokens, p_places) with ordinality as g(tokens, places, number)
  left join lateral (
    select unnest(ts_lexize((select id from dictionary), t.token)) as lexeme,
           coalesce(t.place, t.number) as place
    from rows from (
      unnest(string_to_array(g.tokens, ' ')), unnest(string_to_array(g.places, ' ')::integer[])
    ) with ordinality as t(token, place, number)
  ) as l on true
  group by g.number
$$;

-- A second lexeme for a word that stands alone: "7: neon". No token holds a space.
create or replace function alone(lexeme text) returns text
language sql immutable parallel safe
as $$ select overlay(lexeme placing ': ' from strpos(lexeme, ':') for 1) $$;

-- A chunk's words: its text labelled D, its head (speaker, date, title) labelled A, so that ts_rank
-- can weigh either alone. The text comes first: of a lexeme's positions ts_rank favours the first of
-- the highest weight. A text of one word also gets that word's second lexeme (`alone`), by which it
-- is found among the many rows of a common word.
create or replace function labelled(body tsvector, head tsvector, length integer) returns tsvector
language sql immutable parallel safe
as $$
  select setweight(body, 'D') || setweight(head, 'A') || case when length > 1 then '' else
    array_to_tsvector(array(select alone(w) from unnest(tsvector_to_array(body || head)) as w)) end
$$;

-- The vectors of a statement's parameter. The parameter takes its type from this function, so that
-- its sender need not know which schema pgvector lies in.
create or replace function meanings(given halfvec[]) returns halfvec[]
language sql immutable parallel safe
as $$ select given $$;

-- Fold the counts that writers appended: the rows of a word become one of word_count, those of a
-- tenant one of corpus_count; and GIN's list of pending rows goes into its tree. Returns the rows
-- written. Security definer: it serves all tenants, and changes no sum. One process at a time, by
-- advisory lock: the others have nothing to do.
create or replace function compact() returns bigint
language plpgsql security definer
set search_path from current
as $$
declare
  after bigint := 0;
  n bigint;
begin
  if not pg_try_advisory_xact_lock(hashtext('recall.compact')) then
    return 0;
  end if;
  with folded as (
    delete from word_count as w
    where (w.profile_id, w.word) in (
      select profile_id, word from word_count group by 1, 2 having count(*) > 1)
    returning w.*
  )
  insert into word_count
  select profile_id, tenant_id, word, sum(chunks) from folded group by 1, 2, 3
  having sum(chunks) <> 0;
  get diagnostics after = row_count;
  with folded as (delete from corpus_count returning *)
  insert into corpus_count
  select profile_id, tenant_id, sum(chunks), sum(length) from folded group by 1, 2;
  get diagnostics n = row_count;
  perform gin_clean_pending_list(i.indexrelid)
  from pg_inherits as h
  join pg_index as i on i.indrelid = h.inhrelid
  join pg_class as c on c.oid = i.indexrelid
  join pg_am as a on a.oid = c.relam
  where h.inhparent = 'chunk'::regclass and a.amname = 'gin';
  return after + n;
end $$;

-- What a worker calls when it writes chunks: as its tenant, so with everything that it calls.
grant execute on function dictionary, lexeme_of, quoted, texts_words, alone, labelled, meanings
  to recall_service;
