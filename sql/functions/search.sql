-- Search: the evidence that a question has in a scope, from both legs, in one statement.
--
-- `evidence` finds candidates by meaning (HNSW) and by words (GIN), adds the turns around them,
-- and returns for every one of these rows its exact similarity and the weight of each of the
-- question's words in it. Python turns evidence into scores (`recall/retrieval/fuse.py`).
--
-- When the scope is small, both legs look at every row of it: exact, and cheaper than walking an
-- index past other rows. The planner's own row estimate decides, which costs no scan. Otherwise
-- HNSW scans on until enough rows of the scope were met, and words take only candidates that can
-- matter: rows with a rare word of the question, or with two of its other words.
--
-- Security definer, because row security would keep `@@` (not leakproof) from using the GIN index.
-- The tenant comes from the transaction's own setting, and every row that leaves for a caller is
-- read again from `memory` under its policy.

-- The SQL condition on `c` (chunk) that a scope means; literals quoted, only given filters present.
create or replace function scope_condition(p_profile smallint, p_scope jsonb) returns text
language plpgsql stable
as $$
declare
  v_tenant integer := current_tenant();
  v_condition text := format('c.profile_id = %s and c.tenant_id = %s', p_profile, v_tenant);
  v_ids bigint[];
begin
  if p_scope ? 'user_id' then
    v_condition := v_condition || format(' and c.user_id = %L', p_scope->>'user_id');
  end if;
  if p_scope ? 'session_ids' then
    select array_agg(s.id) into v_ids from session as s
    where s.tenant_id = v_tenant
      and s.key = any(array(select jsonb_array_elements_text(p_scope->'session_ids')));
    v_condition := v_condition || format(' and c.thread = any(%L)', coalesce(v_ids, '{}'));
  end if;
  if p_scope ? 'exclude_session_ids' then
    select array_agg(s.id) into v_ids from session as s
    where s.tenant_id = v_tenant
      and s.key = any(array(select jsonb_array_elements_text(p_scope->'exclude_session_ids')));
    v_condition := v_condition
      || format(' and c.thread <> all(%L)', coalesce(v_ids, '{}'));
  end if;
  if p_scope ? 'kinds' then
    v_condition := v_condition || format(' and c.kind = any(%L)',
      array(select jsonb_array_elements_text(p_scope->'kinds')));
  end if;
  if p_scope ? 'roles' then
    v_condition := v_condition || format(' and c.role = any(%L)',
      array(select jsonb_array_elements_text(p_scope->'roles')));
  end if;
  if p_scope ? 'authors' then
    v_condition := v_condition || format(' and c.author = any(%L)',
      array(select jsonb_array_elements_text(p_scope->'authors')));
  end if;
  if p_scope ? 'since' then
    v_condition := v_condition || format(' and c.created_at >= %L', p_scope->>'since');
  end if;
  if p_scope ? 'until' then
    v_condition := v_condition || format(' and c.created_at < %L', p_scope->>'until');
  end if;
  if p_scope ? 'metadata' then
    -- An empty object is contained in everything, and the index leaves empty metadata out.
    if p_scope->'metadata' <> '{}' then
      v_condition := v_condition || format(
        ' and c.memory_id in (select m.id from memory as m where m.tenant_id = %s
           and m.metadata <> ''{}'' and m.metadata @> %L)', v_tenant, p_scope->'metadata');
    end if;
  end if;
  return v_condition;
end $$;

-- How many chunks the planner expects a condition to leave.
create or replace function estimated_rows(p_condition text) returns bigint
language plpgsql volatile  -- EXPLAIN is refused in any other
as $$
declare
  v_plan json;
begin
  execute 'explain (format json) select from chunk as c where ' || p_condition into v_plan;
  return (v_plan->0->'Plan'->>'Plan Rows')::bigint;
end $$;

-- A phrase's tokens side by side, as the text of a tsquery; stop words keep their distance.
create or replace function phrase_query(p_language text, p_tokens text[]) returns text
language sql stable
as $$
  select coalesce(string_agg(
    case when gap is null then '' else '<' || gap || '>' end || lexeme, '' order by place), '')
  from (
    select t.place, t.place - lag(t.place) over (order by t.place) as gap,
           (select '(' || string_agg(quoted(lexeme_of(current_tenant(), l)), '|') || ')'
            from unnest(ts_lexize(dictionary(p_language), t.token)) as l) as lexeme
    from unnest(p_tokens) with ordinality as t(token, place)
    where ts_lexize(dictionary(p_language), t.token) <> '{}'
  ) as kept
$$;

-- A question's lexemes that the tenant has, rarest first, with the number of chunks of each, and of
-- those where it stands alone; how many it lacks; and the size of its corpus. Of a long question
-- the 32 rarest are kept.
create or replace function terms(
  p_profile smallint, p_language text, p_tokens text[],
  out words text[], out word_chunks bigint[], out alone_chunks bigint[], out absent integer,
  out corpus_chunks bigint, out corpus_length bigint
)
language plpgsql stable
as $$
declare
  v_lexemes text[] := lexemes(current_tenant(), p_language, p_tokens);
begin
  select coalesce(sum(s.chunks), 0), coalesce(sum(s.length), 0)
  into corpus_chunks, corpus_length
  from corpus_count as s
  where s.tenant_id = current_tenant() and s.profile_id = p_profile;
  with counted as (
    select w.word, sum(w.chunks)::bigint as chunks
    from word_count as w
    where w.profile_id = p_profile
      and w.word = any(v_lexemes || array(select alone(l) from unnest(v_lexemes) as l))
    group by w.word
    having sum(w.chunks) > 0
  )
  select coalesce(array_agg(k.word order by k.chunks, k.word), '{}'),
         coalesce(array_agg(k.chunks order by k.chunks, k.word), '{}'),
         coalesce(array_agg(coalesce(a.chunks, 0) order by k.chunks, k.word), '{}')
  into words, word_chunks, alone_chunks
  from (select * from counted where word = any(v_lexemes) order by chunks, word limit 32) as k
  left join counted as a on a.word = alone(k.word);
  absent := greatest(least(cardinality(v_lexemes), 32) - cardinality(words), 0);
end $$;

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
    v_parts := v_parts || format('(%s & (%s))', quoted(v_words[i]),
      (select string_agg(quoted(w), '|') from unnest(v_words[i + 1 : v_last]) as w));
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
-- with ts_rank as saturation, over the eight rarest words. It chooses who is looked at; what is
-- returned is measured with every word.
create or replace function first_score(p_terms record) returns text
language plpgsql stable
as $$
begin
  return (select format('(%s) / (0.3 + 0.7 * c.length / %s::float8)',
    string_agg(format('%s::float8 * ts_rank(''{1,1,1,1}'', c.words, %L)', worth / whole, quoted(w)),
               ' + ' order by place),
    greatest(p_terms.corpus_length, 1)::float8 / greatest(p_terms.corpus_chunks, 1))
  from (
    select w, place, ln(1 + (p_terms.corpus_chunks - n + 0.5) / (n + 0.5)) as worth,
           sum(ln(1 + (p_terms.corpus_chunks - n + 0.5) / (n + 0.5))) over () as whole
    from unnest(p_terms.words, p_terms.word_chunks) with ordinality as u(w, n, place)
  ) as weighed
  where place <= 8);
end $$;

-- How many copies of one text, or pieces of one memory, may take a candidate's place in a crowd.
create or replace function copies() returns integer
language sql immutable
as $$ select 8 $$;

-- The best p_pool chunks by their own words, with their scores, best first; of a crowd, a few copies
-- of each of p_pool texts.
create or replace function chosen_by_words(
  p_condition text, p_terms record, p_rows float8, p_exact boolean, p_pool integer,
  p_crowd boolean, out ids bigint[], out scores float8[]
)
language plpgsql stable
as $$
declare
  v_score text := first_score(p_terms);
  v_query text := case
    when p_exact then (select string_agg(quoted(w), '|') from unnest(p_terms.words) as w)
    -- In a part of the corpus fewer rows match: what is common there may be taken whole.
    else candidate_query(p_terms, candidate_rows() * p_terms.corpus_chunks / greatest(p_rows, 1))
    end;
begin
  execute format('
    select coalesce(array_agg(b.id), ''{}''), coalesce(array_agg(b.score), ''{}'') from ('
    || case when not p_crowd then '
      select c.id, %3$s as score from chunk as c where %1$s and c.words @@ %2$L
      order by score desc, c.id limit %4$s'
    else '
      select r.id, r.score from (
        select c.id, %3$s as score,
               row_number() over (partition by c.digest order by %3$s desc, c.id) as copy
        from chunk as c where %1$s and c.words @@ %2$L
      ) as r
      where r.copy <= copies() order by r.score desc, r.id limit %4$s * copies()'
    end || ') as b', p_condition, v_query, v_score, p_pool)
  into ids, scores;
end $$;

-- Of chunks with their distances, the first few of each text.
create or replace function few_copies(inout ids bigint[], inout distances float8[])
language sql stable
as $$
  select array_agg(r.id order by r.place), array_agg(r.distance order by r.place) from (
    select u.id, u.distance, u.place,
           row_number() over (partition by c.digest order by u.place) as copy
    from unnest(ids, distances) with ordinality as u(id, distance, place)
    join chunk as c on c.id = u.id
  ) as r
  where r.copy <= copies()
$$;

create or replace function count_texts(p_ids bigint[]) returns integer
language sql stable
as $$ select count(distinct c.digest)::integer from chunk as c where c.id = any(p_ids) $$;

-- The best p_pool chunks by meaning, with their distances, all in scope when there are fewer; of a
-- crowd, a few copies of each of p_pool texts.
create or replace function chosen_by_meaning(
  p_condition text, p_scan text, p_meaning halfvec, p_exact boolean, p_pool integer,
  p_crowd boolean, out ids bigint[], out distances float8[]
)
language plpgsql stable
as $$
declare
  v_limit integer := p_pool * case when p_crowd then 4 else 1 end;
begin
  while not p_exact loop
    execute format('select array_agg(b.id), array_agg(b.distance) from (%s limit %s) as b',
                   p_scan, v_limit)
    into ids, distances using p_meaning;
    -- The index scan gave up before it had met enough of the scope.
    exit when coalesce(cardinality(ids), 0) < v_limit;
    if not p_crowd then
      return;
    elsif count_texts(ids) >= p_pool then
      select f.ids, f.distances into ids, distances from few_copies(ids, distances) as f;
      return;
    end if;
    v_limit := v_limit * 4;
  end loop;
  execute format('
    select coalesce(array_agg(b.id), ''{}''), coalesce(array_agg(b.distance), ''{}'') from (
      with scoped as materialized (
        select c.id, c.digest, e.meaning <=> $1 as distance
        from chunk as c join embedding as e on e.profile_id = c.profile_id and e.chunk_id = c.id
        where %s
      )' || case when not p_crowd then '
      select s.id, s.distance from scoped as s order by s.distance, s.id limit $2'
      else '
      select r.id, r.distance from (
        select s.id, s.distance,
               row_number() over (partition by s.digest order by s.distance, s.id) as copy
        from scoped as s
      ) as r
      where r.copy <= copies() order by r.distance, r.id limit $2 * copies()'
      end || ') as b', p_condition)
  into ids, distances using p_meaning, p_pool;
end $$;

-- The candidates that are looked around, best first by what the legs know of them. What a leg did
-- not bring is worth at most the last that it did: a bound, as in Fagin's threshold algorithm, and
-- nothing is read for it.
create or replace function looked_around(
  p_said bigint[], p_scores float8[], p_meant bigint[], p_distances float8[], p_pool integer
) returns bigint[]
language sql immutable
as $$
  select array(
    select id
    from unnest(p_said, p_scores) as s(id, score)
    full join unnest(p_meant, p_distances) as m(id, distance) using (id)
    order by coalesce(score, case when cardinality(p_said) < p_pool then 0
                                  else p_scores[cardinality(p_scores)] end)
             - 0.7 * coalesce(distance, p_distances[cardinality(p_distances)], 0) desc, id
    limit expanded())
$$;

-- Each chunk and the turns before it in its session, newest first; each and the turns after it,
-- oldest first. A 0 ends each run.
create or replace function turns_around(
  p_profile smallint, p_ids bigint[], p_around integer, out earlier bigint[], out later bigint[]
)
language plpgsql stable
as $$
begin
  with core as materialized (
    select c.id, c.thread, c.created_at, c.memory_id, c.piece
    from chunk as c where c.profile_id = p_profile and c.id = any(p_ids)
  )
  select array(
           select r.id from core as o cross join lateral unnest(array(
             select c.id from chunk as c
             where c.profile_id = p_profile and c.thread = o.thread
               and (c.created_at, c.memory_id, c.piece) <= (o.created_at, o.memory_id, o.piece)
             order by c.created_at desc, c.memory_id desc, c.piece desc limit p_around + 1
           ) || 0::bigint) as r(id)),
         array(
           select r.id from core as o cross join lateral unnest(o.id || array(
             select c.id from chunk as c
             where c.profile_id = p_profile and c.thread = o.thread
               and (c.created_at, c.memory_id, c.piece) > (o.created_at, o.memory_id, o.piece)
             order by c.created_at, c.memory_id, c.piece limit p_around
           ) || 0::bigint) as r(id))
  into earlier, later;
end $$;

create or replace function evidence(
  p_profile smallint,
  p_meaning halfvec,         -- null: no semantic leg
  p_tokens text[],           -- empty: no keyword leg
  p_phrases text[],          -- each its tokens, joined by a space
  p_strict boolean,          -- phrases must stand in a hit; otherwise each counts as a word
  p_excluded text[],         -- like p_phrases; must not stand in the memory
  p_scope jsonb,
  p_pool integer,            -- candidate chunks of each leg
  p_texts integer,           -- different texts among all candidates, when the scope has as many
  p_around integer,          -- turns before and after a candidate that count as its context
  out words text[],          -- the question's words and phrases that the tenant has
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
  v_tenant integer := current_tenant();
  v_language text := (select t.language from tenant as t where t.id = v_tenant);
  v_condition text := scope_condition(p_profile, p_scope);
  v_narrow boolean := p_scope <> '{}';
  v_terms record;
  v_rows float8;
  v_scan text;             -- SQL of the walk through HNSW
  v_said bigint[] := '{}';
  v_meant bigint[] := '{}';
  v_scores float8[] := '{}';
  v_distances float8[] := '{}';
  v_ids bigint[];
  v_crowd boolean;
  v_body text[] := '{0}';  -- SQL of each word's weight in `c`
  v_head text[] := '{0}';
  v_any text := '';        -- tsquery: any of the words
  v_text text;
begin
  select * into v_terms from terms(p_profile, v_language, p_tokens);
  words := v_terms.words;
  word_chunks := v_terms.word_chunks;
  absent := v_terms.absent;
  corpus_chunks := v_terms.corpus_chunks;
  corpus_length := v_terms.corpus_length;
  if cardinality(words) > 0 then
    select array_agg(format('ts_rank(''{1,0,0,0}'', c.words, %L)', quoted(w)) order by place),
           array_agg(format('ts_rank(''{0,0,0,1}'', c.words, %L)', quoted(w)) order by place)
    into v_body, v_head
    from unnest(words) with ordinality as u(w, place);
    v_any := (select string_agg(quoted(w), '|') from unnest(words) as w);
  end if;

  foreach v_text in array p_phrases loop
    v_text := phrase_query(v_language, string_to_array(v_text, ' '));
    if v_text <> '' and p_strict then
      v_condition := v_condition || format(' and c.words @@ %L', v_text);
      v_narrow := true;
    elsif v_text <> '' and cardinality(words) > 0 then
      -- As rare as the question's rarest word, and found as if once.
      words := words || v_text;
      word_chunks := word_chunks || word_chunks[1];
      v_body := v_body || format('0.6079271 * (c.words @@ %L)::integer', v_text);
      v_head := v_head || '0'::text;
    end if;
  end loop;
  -- Together: an anti-join for each would be planned at more than the cost of its own.
  v_text := (select string_agg('(' || q || ')', '|')
             from unnest(p_excluded) as u(phrase)
             cross join lateral phrase_query(v_language, string_to_array(phrase, ' ')) as q
             where q <> '');
  if v_text is not null then
    v_condition := v_condition || format(' and not exists (
      select from chunk as x where x.profile_id = c.profile_id and x.memory_id = c.memory_id
      and x.words @@ %L)', v_text);
    v_narrow := true;
  end if;

  -- Set here and not with the function: a restore may not set what an unloaded library reads. Where
  -- nothing else finds what the walk through the graph misses, it looks four times as wide.
  perform set_config('hnsw.ef_search', case when p_tokens = '{}' then '400' else '100' end, true),
          set_config('hnsw.iterative_scan', 'relaxed_order', true);
  v_rows := corpus_chunks;
  if v_narrow and v_rows > exact_rows() then
    v_rows := least(v_rows, estimated_rows(v_condition));
  end if;
  exact := v_rows <= exact_rows();

  v_scan := format('
    select e.chunk_id as id, e.meaning::halfvec(%s) <=> $1 as distance from embedding as e %s
    where e.profile_id = %s and e.tenant_id = %s %s
    order by distance',
    (select p.dimension from profile as p where p.id = p_profile),
    case when v_narrow then 'join chunk as c on c.id = e.chunk_id' else '' end,
    p_profile, v_tenant, case when v_narrow then 'and ' || v_condition else '' end);
  foreach v_crowd in array array[false, true] loop
    if cardinality(v_terms.words) > 0 and (not v_crowd or cardinality(v_said) = p_pool) then
      select w.ids, w.scores into v_said, v_scores
      from chosen_by_words(v_condition, v_terms, v_rows, exact, p_pool, v_crowd) as w;
    end if;
    if p_meaning is not null and (not v_crowd or cardinality(v_meant) = p_pool) then
      select m.ids, m.distances into v_meant, v_distances
      from chosen_by_meaning(v_condition, v_scan, p_meaning, exact, p_pool, v_crowd) as m;
    end if;

    -- The best candidates' neighbours are rows too: they carry context, and may be hits themselves.
    select t.earlier, t.later into earlier, later
    from turns_around(p_profile, looked_around(v_said, v_scores, v_meant, v_distances, p_pool),
                      p_around) as t;
    v_ids := v_said || v_meant || earlier || later;
    -- Rows are fetched by an array of ids, each table in its own order: many lie side by side.
    execute format('
      select coalesce(array_agg(c.id), ''{}''), coalesce(array_agg(c.memory_id), ''{}''),
             coalesce(array_agg(c.piece), ''{}''), coalesce(array_agg(c.thread), ''{}''),
             coalesce(array_agg(c.created_at), ''{}''), coalesce(array_agg(c.length), ''{}''),
             coalesce(array_agg(c.digest), ''{}''),
             -- A column that is null, as a turn''s user may be, is not what a filter names.
             coalesce(array_agg(coalesce((%2$s), false)), ''{}''),
             -- Most neighbours hold none of the words: one look at all saves two at each.
             coalesce(array_agg(m.matches), ''{}''),
             coalesce(array_agg(array[%3$s]::real[]) filter (where m.matches), ''{}''),
             coalesce(array_agg(array[%4$s]::real[]) filter (where m.matches), ''{}'')
      from (
        select * from chunk where profile_id = %1$s and id = any(array(select unnest($1)))
        order by id
      ) as c cross join lateral (select c.words @@ %5$L as matches offset 0) as m',
      p_profile, v_condition, array_to_string(v_body, ','), array_to_string(v_head, ','), v_any)
    into chunk_ids, memory_ids, pieces, threads, times, lengths, digests, in_scope, matches,
         body, head
    using v_ids;
    if p_meaning is not null then
      select coalesce(array_agg(e.chunk_id), '{}'),
             coalesce(array_agg(1 - (e.meaning <=> p_meaning)), '{}')
      into embedded_ids, similarities
      from embedding as e where e.profile_id = p_profile and e.chunk_id = any(chunk_ids);
    else
      embedded_ids := '{}';
      similarities := '{}';
    end if;

    -- Copies of one text, or pieces of one long memory, may have taken the places of others.
    exit when greatest(cardinality(v_said), cardinality(v_meant)) < p_pool
           or p_texts <= (select count(distinct u.digest)
                          from unnest(chunk_ids, digests) as u(id, digest)
                          join unnest(v_said || v_meant) as v(id) using (id));
  end loop;

  select count(*) into pending
  from (select from job where tenant_id = v_tenant and parked_at is null limit 1000) as j;
end $$;

grant execute on function evidence to recall_service;

-- Scopes of up to so many chunks are looked at row by row.
create or replace function exact_rows() returns integer
language sql immutable
as $$ select 5000 $$;

-- How many rows with a rare word of the question the keyword leg scores.
create or replace function candidate_rows() returns integer
language sql immutable
as $$ select 1000 $$;

-- How many candidates are looked around: the best by a first score without context.
create or replace function expanded() returns integer
language sql immutable
as $$ select 64 $$;
