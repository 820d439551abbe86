-- Keys and tenants. These run as the owner: they decide which tenant a caller is.

-- name: ensure_tenant
insert into tenant (name) values (%s) on conflict (name) do nothing;

-- name: tenant_by_name
select id from tenant where name = %s;

-- name: create_key
insert into api_key (tenant_id, name, digest) select id, %s, %s from tenant where name = %s;

-- name: keys
select k.id, t.name as tenant, k.name, k.created_at, k.revoked_at
from api_key as k join tenant as t on t.id = k.tenant_id
order by k.id;

-- name: revoke_key
update api_key set revoked_at = now() where id = %s and revoked_at is null returning id;

-- name: any_live_key
select exists (select from api_key where revoked_at is null);

-- name: tenant_of_key
select tenant_id from api_key where digest = %s and revoked_at is null;

-- name: set_language
update tenant set language = %s where id = %s;

-- A changed language changes every word: all of the tenant's memories are indexed again.
-- name: queue_tenant
with queued as (
  insert into job (memory_id, tenant_id, lane)
  select id, tenant_id, 1 from memory where tenant_id = %s
  on conflict (memory_id) do update
    set token = nextval('job_token'), due_at = 'epoch', attempts = 0, together = null, alone = 0,
        parked_at = null, error = null
  returning memory_id
)
select count(*) from queued;
