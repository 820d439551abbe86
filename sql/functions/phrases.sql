-- Phrases: words that stand side by side. A question demands them, excludes them, or hints at them.
--
-- A phrase comes as its tokens, joined by a space. One of stop words alone asks for nothing.

-- A phrase as the text of a tsquery, stop words keeping their distance; empty: asks for nothing.
create or replace function phrase_query(p_language text, p_phrase text) returns text
language sql stable
as $$
  select coalesce(string_agg(
    case when gap is null then '' else '<' || gap || '>' end || lexeme, '' order by place), '')
  from (
    select t.place, t.place - lag(t.place) over (order by t.place) as gap,
           (select '(' || string_agg(quoted(lexeme_of(current_tenant(), l)), '|') || ')'
            from unnest(ts_lexize(dictionary(p_language), t.token)) as l) as lexeme
    from unnest(string_to_array(p_phrase, ' ')) with ordinality as t(token, place)
    where ts_lexize(dictionary(p_language), t.token) <> '{}'
  ) as kept
$$;

-- The condition that each of the phrases stands in the chunk `c`; null: no condition.
create or replace function demanded(p_language text, p_phrases text[]) returns text
language plpgsql stable
as $$
begin
  return (select string_agg(format('c.words @@ %L', q), ' and ' order by place)
          from unnest(p_phrases) with ordinality as u(phrase, place)
          cross join lateral phrase_query(p_language, phrase) as q
          where q <> '');
end $$;

-- The condition that none of the phrases stands anywhere in the memory of `c`; null: no condition.
-- One for all of them: an anti-join for each would be planned at more than the cost of its own.
create or replace function excluded(p_language text, p_phrases text[]) returns text
language plpgsql stable
as $$
begin
  return (select format('not exists (
                           select from chunk as x
                           where x.profile_id = c.profile_id and x.memory_id = c.memory_id
                           and x.words @@ %L)', string_agg('(' || q || ')', '|'))
          from unnest(p_phrases) as u(phrase)
          cross join lateral phrase_query(p_language, phrase) as q
          where q <> ''
          having count(*) > 0);
end $$;

-- The phrases that ask for something, as the texts of tsqueries, and as they were asked.
create or replace function hinted(
  p_language text, p_phrases text[], out queries text[], out asked text[]
)
language plpgsql stable
as $$
begin
  select coalesce(array_agg(q order by place), '{}'),
         coalesce(array_agg('"' || phrase || '"' order by place), '{}')
  into queries, asked
  from unnest(p_phrases) with ordinality as u(phrase, place)
  cross join lateral phrase_query(p_language, phrase) as q
  where q <> '';
end $$;
