-- Status: how much there is, how much of it waits, and on what it runs.

-- name: status
select (select count(*) from memory where tenant_id = current_tenant()) as memories,
       (select coalesce(sum(chunks), 0) from corpus_count
        where tenant_id = current_tenant() and profile_id = p.id)::bigint as chunks,
       (select count(*) from job
        where tenant_id = current_tenant() and parked_at is null) as pending,
       (select count(*) from job
        where tenant_id = current_tenant() and parked_at is not null) as failed,
       (select extract(epoch from now() - min(queued_at)) from job
        where tenant_id = current_tenant() and parked_at is null)::float8 as oldest_pending_seconds
from (select max(id) filter (where active) as id from profile) as p;

-- name: server
select current_setting('server_version') as postgres,
       (select extversion from pg_extension where extname = 'vector') as pgvector,
       pg_database_size(current_database()) as bytes;

-- name: ready
select 1;

-- name: empty
select not exists (select from memory);
