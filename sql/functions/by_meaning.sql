-- By meaning: the semantic leg's candidates, by a walk through HNSW or by a look at every row.
--
-- The walk goes on until enough rows of the scope were met, and may give up before: then, as where
-- the scope is small, every row of it is looked at, which is exact. Functions that end with `_sql`
-- are as in by_words.sql; a candidate's score here is its distance.

-- The nearest chunks of the tenant, by the walk.
create or replace function walk_sql(p_profile smallint) returns text
language plpgsql stable
as $$
begin
  return format($sql$
    select e.chunk_id as id, e.meaning::halfvec(%s) <=> $1 as score
    from embedding as e
    where e.profile_id = %s and e.tenant_id = %s
    order by score limit $2
  $sql$, (select p.dimension from profile as p where p.id = p_profile), p_profile,
    current_tenant());
end $$;

-- The nearest chunks of a scope, by the walk.
create or replace function walk_in_scope_sql(p_profile smallint, p_condition text) returns text
language plpgsql stable
as $$
begin
  return format($sql$
    select e.chunk_id as id, e.meaning::halfvec(%s) <=> $1 as score
    from embedding as e join chunk as c on c.id = e.chunk_id
    where e.profile_id = %s and e.tenant_id = %s and %s
    order by score limit $2
  $sql$, (select p.dimension from profile as p where p.id = p_profile), p_profile,
    current_tenant(), p_condition);
end $$;

-- The nearest chunks of a scope, by a look at each.
create or replace function by_meaning_sql(p_condition text) returns text
language sql stable
as $$
  select format($sql$
    with scoped as materialized (
      select c.id, e.meaning <=> $1 as score
      from chunk as c join embedding as e on e.profile_id = c.profile_id and e.chunk_id = c.id
      where %s
    )
    select s.id, s.score from scoped as s order by s.score, s.id limit $2
  $sql$, p_condition)
$$;

-- The same of texts: a few copies of each of the nearest.
create or replace function texts_by_meaning_sql(p_condition text) returns text
language sql stable
as $$
  select format($sql$
    with scoped as materialized (
      select c.id, c.digest, e.meaning <=> $1 as score
      from chunk as c join embedding as e on e.profile_id = c.profile_id and e.chunk_id = c.id
      where %s
    )
    select r.id, r.score from (
      select s.id, s.score,
             row_number() over (partition by s.digest order by s.score, s.id) as copy
      from scoped as s
    ) as r
    where r.copy <= copies() order by r.score, r.id limit $2 * copies()
  $sql$, p_condition)
$$;

-- The p_pool nearest chunks: by the walk, unless that is null, and where it gives up by the look.
create or replace function chosen_by_meaning(
  p_walk text, p_look text, p_meaning halfvec, p_pool integer, out ids bigint[], out scores float8[]
)
language plpgsql stable
as $$
begin
  if p_walk is not null then
    select c.ids, c.scores into ids, scores from chosen(p_walk, p_meaning, p_pool) as c;
  end if;
  if ids is null or cardinality(ids) < p_pool then
    select c.ids, c.scores into ids, scores from chosen(p_look, p_meaning, p_pool) as c;
  end if;
end $$;

-- The same of texts: the walk goes four times as far until it has met p_pool of them.
create or replace function texts_chosen_by_meaning(
  p_walk text, p_look text, p_meaning halfvec, p_pool integer, out ids bigint[], out scores float8[]
)
language plpgsql stable
as $$
declare
  v_far integer := p_pool;
begin
  while p_walk is not null loop
    v_far := 4 * v_far;
    select c.ids, c.scores into ids, scores from chosen(p_walk, p_meaning, v_far) as c;
    exit when cardinality(ids) < v_far;
    if count_texts(ids) >= p_pool then
      select f.ids, f.scores into ids, scores from few_copies(ids, scores) as f;
      return;
    end if;
  end loop;
  select c.ids, c.scores into ids, scores from chosen(p_look, p_meaning, p_pool) as c;
end $$;
