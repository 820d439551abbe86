-- Terms: a question's words, as the tenant's corpus knows them.

-- The distinct lexemes of a question's tokens, in order of first appearance, and the token that
-- each appears in first.
create or replace function lexemes(
  p_language text, p_tokens text[], out lexemes text[], out asked text[]
)
language plpgsql stable
as $$
begin
  select coalesce(array_agg(d.lexeme order by d.place), '{}'),
         coalesce(array_agg(p_tokens[d.place] order by d.place), '{}')
  into lexemes, asked
  from (
    select lexeme_of(current_tenant(), l.lexeme) as lexeme, min(t.place) as place
    from unnest(p_tokens) with ordinality as t(token, place)
    cross join lateral unnest(ts_lexize(dictionary(p_language), t.token)) as l(lexeme)
    group by 1
  ) as d;
end $$;

-- A question's lexemes that the tenant has, rarest first, with the token that asked for each, the
-- number of chunks of each, and of those where it stands alone; how many it lacks; and the size of
-- its corpus. Of a long question the 32 rarest are kept.
create or replace function terms(
  p_profile smallint, p_language text, p_tokens text[],
  out words text[], out asked text[], out word_chunks bigint[], out alone_chunks bigint[],
  out absent integer, out corpus_chunks bigint, out corpus_length bigint
)
language plpgsql stable
as $$
declare
  v_lexemes text[];
  v_asked text[];
begin
  select coalesce(sum(s.chunks), 0), coalesce(sum(s.length), 0)
  into corpus_chunks, corpus_length
  from corpus_count as s
  where s.tenant_id = current_tenant() and s.profile_id = p_profile;
  select l.lexemes, l.asked into v_lexemes, v_asked from lexemes(p_language, p_tokens) as l;
  with counted as (
    select w.word, sum(w.chunks)::bigint as chunks
    from word_count as w
    where w.profile_id = p_profile
      and w.word = any(v_lexemes || array(select alone(l) from unnest(v_lexemes) as l))
    group by w.word
    having sum(w.chunks) > 0
  )
  select coalesce(array_agg(k.word order by k.chunks, k.word), '{}'),
         coalesce(array_agg(v_asked[array_position(v_lexemes, k.word)]
                            order by k.chunks, k.word), '{}'),
         coalesce(array_agg(k.chunks order by k.chunks, k.word), '{}'),
         coalesce(array_agg(coalesce(a.chunks, 0) order by k.chunks, k.word), '{}')
  into words, asked, word_chunks, alone_chunks
  from (select * from counted where word = any(v_lexemes) order by chunks, word limit 32) as k
  left join counted as a on a.word = alone(k.word);
  absent := greatest(least(cardinality(v_lexemes), 32) - cardinality(words), 0);
end $$;

-- The text of a tsquery: any of the words.
create or replace function any_of(p_words text[]) returns text
language plpgsql immutable
as $$
begin
  return (select coalesce(string_agg(quoted(w), '|'), '') from unnest(p_words) as w);
end $$;
