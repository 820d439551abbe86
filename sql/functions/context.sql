-- Context: the turns around the best candidates. They lend them meaning, and may be hits themselves.

-- The candidates that are looked around, best first by what the legs know of them. A score that a
-- leg did not bring is bounded by the last that it did (Fagin's threshold algorithm), so that
-- nothing is read for it; a leg that brought fewer than p_pool brought all that it has.
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
             - weight_of_meaning() * coalesce(distance, p_distances[cardinality(p_distances)], 0)
             desc, id
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
