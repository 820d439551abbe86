-- Building HNSW after the rows instead of with them, which costs a fifth.
--
-- Whoever takes the index away for a load holds an advisory lock on a direct connection until it
-- is built again; where nobody holds it and the index is missing, a load was interrupted.

-- name: missing_hnsw
select count(*)
from profile as p
left join pg_index as i on i.indexrelid = to_regclass('recall.embedding_' || p.id || '_hnsw')
where i.indisvalid is not true;

-- name: lock_build
select pg_try_advisory_lock(hashtext('recall.build'));

-- name: unlock_build
select pg_advisory_unlock(hashtext('recall.build'));

-- name: build_path
select set_config('search_path', %s, false), set_config('statement_timeout', '0', false);

-- Each profile, whether its index is there and may be used, and whether it is the active one.
-- name: hnsw_indexes
select p.id as profile, p.dimension, p.active, coalesce(i.indisvalid, false) as usable
from profile as p
left join pg_index as i on i.indexrelid = to_regclass('recall.embedding_' || p.id || '_hnsw');

-- name: nothing_embedded
select not exists (select from embedding where profile_id = %s);

-- name: jobs_waiting
select count(*) from job where parked_at is null;

-- The graph should fit: 1.2 times vectors and links, at most a quarter of what the server takes
-- itself to have for caching, and never less than its own setting.
-- name: memory_for_build
select set_config('maintenance_work_mem', greatest(
         (select setting::bigint from pg_settings where name = 'maintenance_work_mem'),
         least((select count(*) * (2 * %(dimension)s::integer + 700) * 12 / 10 / 1024
                from embedding where profile_id = %(profile)s),
               (select setting::bigint * 2 from pg_settings where name = 'effective_cache_size')
       ))::text || 'kB', false);

-- name: hnsw_index
select hnsw_index(%s::smallint, %s);

-- name: embedded_vectors
select count(*) from embedding where profile_id = %s;

-- name: one_builder
select set_config('max_parallel_maintenance_workers', '0', false);
