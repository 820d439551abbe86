-- By words: the keyword leg's candidates, found through GIN.
--
-- A function whose name ends with `_sql` returns the text of a statement, with $1 the question's
-- meaning and $2 the number of candidates; `chosen` runs it, and EXPLAIN may. Candidates come as
-- id and score.

-- Which rows can matter to the keyword leg, as the text of a tsquery: those with one of the
-- question's rare words, with two of the others, or with one of the others standing alone, whose
-- weight no length dilutes (the high tier of Manning, Raghavan and Schütze's tiered indexes,
-- §7.2.1). Each kind takes the rarest first, up to p_budget expected rows.
create or replace function candidate_query(p_terms record, p_budget float8) returns text
language plpgsql immutable
as $$
declare
  v_words text[] := p_terms.words;
  v_size integer := cardinality(v_words);
  v_rare integer := 0;
  v_total bigint := 0;
  v_parts text[] := '{}';
  v_last integer;
begin
  for i in 1 .. v_size loop
    v_total := v_total + p_terms.word_chunks[i];
    exit when v_total > p_budget and not (v_size = 1 and p_terms.alone_chunks[1] < p_budget);
    v_rare := i;
    v_parts := v_parts || quoted(v_words[i]);
  end loop;
  v_last := least(v_size, v_rare + 5);
  v_total := 0;
  for i in v_rare + 1 .. v_last - 1 loop
    v_total := v_total + p_terms.word_chunks[i]
      * (select sum(n) from unnest(p_terms.word_chunks[i + 1 : v_last]) as n)
      / greatest(p_terms.corpus_chunks, 1);
    exit when v_total > p_budget and i > v_rare + 1;
    v_parts := v_parts || format('(%s & (%s))', quoted(v_words[i]), any_of(v_words[i + 1 : v_last]));
  end loop;
  v_total := 0;
  for i in v_rare + 1 .. v_size loop
    v_total := v_total + p_terms.alone_chunks[i];
    exit when v_total > p_budget and i > v_rare + 1;
    v_parts := v_parts || quoted(alone(v_words[i]));
  end loop;
  return array_to_string(v_parts, ' | ');
end $$;

-- SQL of a chunk's first score by its own words, as a share of what the question could reach: BM25
-- with ts_rank as saturation, over the eight rarest words. It chooses the candidates; evidence then
-- weighs every word in them.
create or replace function first_score(p_terms record) returns text
language plpgsql stable
as $$
begin
  return (select format('(%s) / (%s + %s * c.length / %s::float8)',
    string_agg(format('%s::float8 * ts_rank(''{1,1,1,1}'', c.words, %L)', worth / whole, quoted(w)),
               ' + ' order by place),
    1 - weight_of_length(), weight_of_length(),
    greatest(p_terms.corpus_length, 1)::float8 / greatest(p_terms.corpus_chunks, 1))
  from (
    select w, place, ln(1 + (p_terms.corpus_chunks - n + 0.5) / (n + 0.5)) as worth,
           sum(ln(1 + (p_terms.corpus_chunks - n + 0.5) / (n + 0.5))) over () as whole
    from unnest(p_terms.words, p_terms.word_chunks) with ordinality as u(w, n, place)
  ) as weighed
  where place <= 8);
end $$;

-- The best chunks by their first score among those that a tsquery matches.
create or replace function by_words_sql(p_condition text, p_query text, p_score text) returns text
language sql stable
as $$
  select format($sql$
    select c.id, %3$s as score from chunk as c
    where %1$s and c.words @@ %2$L
    order by score desc, c.id limit $2
  $sql$, p_condition, p_query, p_score)
$$;

-- The same of texts: a few copies of each of the best.
create or replace function texts_by_words_sql(p_condition text, p_query text, p_score text)
returns text
language sql stable
as $$
  select format($sql$
    select r.id, r.score from (
      select c.id, %3$s as score,
             row_number() over (partition by c.digest order by %3$s desc, c.id) as copy
      from chunk as c where %1$s and c.words @@ %2$L
    ) as r
    where r.copy <= copies() order by r.score desc, r.id limit $2 * copies()
  $sql$, p_condition, p_query, p_score)
$$;
