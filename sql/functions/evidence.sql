-- Evidence: what a question finds in a scope, by both legs, in one statement.
--
-- `evidence` finds candidates by meaning (by_meaning.sql) and by words (by_words.sql), adds the
-- turns around them (context.sql), and returns for every one of these rows its exact similarity and
-- the weight of each of the question's words in it (measured.sql). Python turns evidence into
-- scores (`recall/retrieval/fuse.py`).
--
-- When the scope is small, both legs look at every row of it: exact, and cheaper than walking an
-- index past other rows. The planner's own row estimate decides, which costs no scan. Otherwise
-- HNSW scans on until enough rows of the scope were met, and words take only candidates that can
-- matter: rows with a rare word of the question, or with two of its other words.
--
-- The pieces can be run and explained one by one: functions whose names end with `_sql` return the
-- text of a statement, and `chosen` runs a leg's.
--
-- Security definer, because row security would keep `@@` (not leakproof) from using the GIN index.
-- The tenant comes from the transaction's own setting, and every row that leaves for a caller is
-- read again from `memory` under its policy.

create or replace function evidence(
  p_profile smallint,
  p_meaning halfvec,         -- null: no semantic leg
  p_tokens text[],           -- empty: no keyword leg
  p_hints text[],            -- phrases that count as words, each its tokens, joined by a space
  p_demanded text[],         -- phrases that must stand in a hit
  p_excluded text[],         -- phrases that must not stand in the memory
  p_scope jsonb,
  p_pool integer,            -- candidate chunks of each leg
  p_texts integer,           -- different texts among all candidates, when the scope has as many
  p_around integer,          -- turns before and after a candidate that count as its context
  out words text[],          -- the question's words and "phrases" that the tenant has, as asked
  out word_chunks bigint[],  -- in how many chunks each stands
  out absent integer,        -- the question's words that stand nowhere
  out corpus_chunks bigint, out corpus_length bigint,
  out exact boolean,         -- whether every row in scope was looked at
  out chunk_ids bigint[], out memory_ids bigint[], out pieces integer[], out threads bigint[],
  out times timestamptz[], out lengths integer[], out digests bigint[],
  out in_scope boolean[],    -- false: only the context of others, never a hit
  out earlier bigint[],      -- runs of turns side by side, newest first, a 0 behind each
  out later bigint[],        -- the same, oldest first
  out embedded_ids bigint[], out similarities real[],  -- rows' cosines to the question
  out matches boolean[],     -- whether a row holds any of the words
  out body real[],           -- of rows that do, ts_rank of each word in the text: [rows × words]
  out head real[],           -- and in what stands over it
  out pending bigint
)
language plpgsql volatile security definer
set search_path from current
as $$
declare
  v_language text := (select t.language from tenant as t where t.id = current_tenant());
  v_demanded text := case when p_demanded <> '{}' then demanded(v_language, p_demanded) end;
  v_excluded text := case when p_excluded <> '{}' then excluded(v_language, p_excluded) end;
  v_condition text := concat_ws(' and ', scope_condition(p_profile, p_scope),
                                v_demanded, v_excluded);
  v_narrow boolean := p_scope <> '{}' or v_demanded is not null or v_excluded is not null;
  v_terms record;
  v_hints record;
  v_size float8;      -- chunks in scope, by the planner's estimate
  v_query text;       -- which rows the keyword leg scores, a tsquery
  v_score text;       -- by what, SQL
  v_walk text;        -- the walk through HNSW, a statement; null: every row is looked at
  v_rows text;        -- what reads the rows, a statement
  v_said bigint[] := '{}';
  v_scores float8[] := '{}';
  v_meant bigint[] := '{}';
  v_distances float8[] := '{}';
begin
  select * into v_terms from terms(p_profile, v_language, p_tokens);
  select * into v_hints
  from hinted(v_language, case when v_terms.words = '{}' then '{}' else p_hints end);
  words := v_terms.asked || v_hints.asked;
  -- A phrase is as rare as the question's rarest word.
  word_chunks := v_terms.word_chunks
    || array_fill(v_terms.word_chunks[1], array[cardinality(v_hints.asked)]);
  absent := v_terms.absent;
  corpus_chunks := v_terms.corpus_chunks;
  corpus_length := v_terms.corpus_length;

  v_size := corpus_chunks;
  if v_narrow and v_size > exact_rows() then
    v_size := least(v_size, estimated_rows(v_condition));
  end if;
  exact := v_size <= exact_rows();
  select rows_sql(p_profile, v_condition, any_of(v_terms.words), w.body, w.head) into v_rows
  from weights_sql(v_terms.words, v_hints.queries) as w;
  -- Set here and not with the function: a restore may not set what an unloaded library reads.
  perform set_config('hnsw.ef_search',
                     case when p_tokens = '{}' then walk_width_alone() else walk_width() end::text,
                     true),
          set_config('hnsw.iterative_scan', 'relaxed_order', true);

  if v_terms.words <> '{}' then
    -- In a part of the corpus fewer rows match: what is common there may be taken whole.
    v_query := case when exact then any_of(v_terms.words) else candidate_query(
      v_terms, candidate_rows() * corpus_chunks / greatest(v_size, 1)) end;
    v_score := first_score(v_terms);
    select c.ids, c.scores into v_said, v_scores
    from chosen(by_words_sql(v_condition, v_query, v_score), p_meaning, p_pool) as c;
  end if;
  if p_meaning is not null then
    v_walk := case when exact then null
                   when v_narrow then walk_in_scope_sql(p_profile, v_condition)
                   else walk_sql(p_profile) end;
    select c.ids, c.scores into v_meant, v_distances
    from chosen_by_meaning(v_walk, by_meaning_sql(v_condition), p_meaning, p_pool) as c;
  end if;
  select * into chunk_ids, memory_ids, pieces, threads, times, lengths, digests, in_scope,
                earlier, later, embedded_ids, similarities, matches, body, head
  from measured(p_profile, p_meaning, v_rows, v_said || v_meant,
                looked_around(v_said, v_scores, v_meant, v_distances, p_pool), p_around);

  -- Copies of one text, or pieces of one long memory, may have taken the places of others.
  if greatest(cardinality(v_said), cardinality(v_meant)) >= p_pool
     and p_texts > (select count(distinct u.digest)
                    from unnest(chunk_ids, digests) as u(id, digest)
                    join unnest(v_said || v_meant) as v(id) using (id)) then
    if cardinality(v_said) = p_pool then
      select c.ids, c.scores into v_said, v_scores
      from chosen(texts_by_words_sql(v_condition, v_query, v_score), p_meaning, p_pool) as c;
    end if;
    if cardinality(v_meant) = p_pool then
      select c.ids, c.scores into v_meant, v_distances
      from texts_chosen_by_meaning(v_walk, texts_by_meaning_sql(v_condition), p_meaning, p_pool)
        as c;
    end if;
    select * into chunk_ids, memory_ids, pieces, threads, times, lengths, digests, in_scope,
                  earlier, later, embedded_ids, similarities, matches, body, head
    from measured(p_profile, p_meaning, v_rows, v_said || v_meant,
                  looked_around(v_said, v_scores, v_meant, v_distances, p_pool), p_around);
  end if;

  select count(*) into pending
  from (select from job where tenant_id = current_tenant() and parked_at is null limit 1000) as j;
end $$;

grant execute on function evidence to recall_service;
