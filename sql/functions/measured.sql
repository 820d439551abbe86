-- Measured: what is known of candidates and of the turns around them, row by row and exactly.

-- SQL of each word's and each hinted phrase's weight in `c`: in the text, and in what stands over
-- it. A phrase is found as if once; over a text stands no phrase.
create or replace function weights_sql(
  p_words text[], p_phrases text[], out body text, out head text
)
language plpgsql stable
as $$
begin
  select coalesce(string_agg(in_body, ', ' order by place), '0'),
         coalesce(string_agg(in_head, ', ' order by place), '0')
  into body, head
  from (
    select place, format('ts_rank(''{1,0,0,0}'', c.words, %L)', quoted(w)),
           format('ts_rank(''{0,0,0,1}'', c.words, %L)', quoted(w))
    from unnest(p_words) with ordinality as u(w, place)
    union all
    select cardinality(p_words) + place,
           format('case when c.words @@ %L then rank_of_one() else 0 end', q), '0'
    from unnest(p_phrases) with ordinality as u(q, place)
  ) as weight(place, in_body, in_head);
end $$;

-- The statement that reads the chunks with the ids $1, in the order of their ids: many then lie
-- side by side. p_any is the tsquery of all words.
create or replace function rows_sql(
  p_profile smallint, p_condition text, p_any text, p_body text, p_head text
) returns text
language sql stable
as $$
  select format($sql$
    select coalesce(array_agg(c.id), '{}'), coalesce(array_agg(c.memory_id), '{}'),
           coalesce(array_agg(c.piece), '{}'), coalesce(array_agg(c.thread), '{}'),
           coalesce(array_agg(c.created_at), '{}'), coalesce(array_agg(c.length), '{}'),
           coalesce(array_agg(c.digest), '{}'),
           -- A column that is null, as a turn's user may be, is not what a filter names.
           coalesce(array_agg(coalesce((%2$s), false)), '{}'),
           -- Most neighbours hold none of the words: one look at all saves two at each.
           coalesce(array_agg(m.matches), '{}'),
           coalesce(array_agg(array[%4$s]::real[]) filter (where m.matches), '{}'),
           coalesce(array_agg(array[%5$s]::real[]) filter (where m.matches), '{}')
    from (
      select * from chunk where profile_id = %1$s and id = any(array(select unnest($1)))
      order by id
    ) as c cross join lateral (select c.words @@ %3$L as matches offset 0) as m
  $sql$, p_profile, p_condition, p_any, p_body, p_head)
$$;

-- The chunks that p_rows reads, of the candidates and of those around p_core, with their cosines;
-- the columns are those of `evidence`.
create or replace function measured(
  p_profile smallint, p_meaning halfvec, p_rows text,
  p_candidates bigint[], p_core bigint[], p_around integer,
  out chunk_ids bigint[], out memory_ids bigint[], out pieces integer[], out threads bigint[],
  out times timestamptz[], out lengths integer[], out digests bigint[], out in_scope boolean[],
  out earlier bigint[], out later bigint[],
  out embedded_ids bigint[], out similarities real[],
  out matches boolean[], out body real[], out head real[]
)
language plpgsql stable
as $$
begin
  select t.earlier, t.later into earlier, later
  from turns_around(p_profile, p_core, p_around) as t;
  execute p_rows
  into chunk_ids, memory_ids, pieces, threads, times, lengths, digests, in_scope,
       matches, body, head
  using p_candidates || earlier || later;
  embedded_ids := '{}';
  similarities := '{}';
  if p_meaning is not null then
    select coalesce(array_agg(e.chunk_id), '{}'),
           coalesce(array_agg(1 - (e.meaning <=> p_meaning)), '{}')
    into embedded_ids, similarities
    from embedding as e where e.profile_id = p_profile and e.chunk_id = any(chunk_ids);
  end if;
end $$;
