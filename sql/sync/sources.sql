-- Sources: where backfilled memories came from, and how far their reading is.
--
-- The position is written in the transaction that stores the rows before it, so a backfill that is
-- killed anywhere goes on exactly where its last commit ended. It is {"after", "tally", "asked"}
-- while a backfill is under way, and {"end"} when there was nothing more to read; both carry the
-- "version" of the record (recall/sync/entry.py).

-- name: ensure_source
insert into source as s (tenant_id, name) values (current_tenant(), %s)
on conflict (tenant_id, name) do update set name = s.name
returning id, position;

-- name: advance_source
update source set position = %s::jsonb, updated_at = now()
where id = %s and tenant_id = current_tenant();

-- name: analyze_stored
analyze memory (id, tenant_id), job;

-- Memories of this source whose row says something else now. Those that read otherwise are queued
-- again, so that a worker that still holds the old text loses its claim; whose metadata alone
-- changed are not.
-- name: change_memories
with given as materialized (
  select g.*
  from unnest(%(keys)b::text[], %(contents)b::text[], %(titles)b::text[], %(categories)b::text[],
              %(roles)b::text[], %(authors)b::text[], %(metadata)b::text[])
       as g(key, content, title, category, role, author, metadata)
), differing as materialized (
  select m.id, g.content, g.title, g.category, g.role, g.author, g.metadata::jsonb as metadata,
         (m.content, m.title, m.category, m.role, m.author)
           is distinct from (g.content, g.title, g.category, g.role, g.author) as reads_otherwise
  from given as g join memory as m on m.tenant_id = current_tenant() and m.key = g.key
  where m.source_id = %(source)s and m.kind = %(kind)s
    and ((m.content, m.title, m.category, m.role, m.author)
           is distinct from (g.content, g.title, g.category, g.role, g.author)
         or m.metadata <> g.metadata::jsonb)
  order by m.id
  for update of m
), changed as (
  update memory as m
  set content = d.content, title = d.title, category = d.category, role = d.role,
      author = d.author, metadata = d.metadata, updated_at = now()
  from differing as d
  where m.id = d.id
  returning m.id, m.key, d.reads_otherwise
), queued as (
  insert into job as j (memory_id, tenant_id, lane)
  select id, current_tenant(), %(lane)s from changed where reads_otherwise order by id
  on conflict (memory_id) do update
    set token = nextval('job_token'), lane = least(j.lane, excluded.lane), due_at = 'epoch',
        queued_at = now(), attempts = 0, together = null, alone = 0, parked_at = null, error = null
)
select key from changed;

-- What has not been stored by now is no news to a reading that begins now.
-- name: newest_memory
select coalesce(max(id), 0) from memory where source_id = %s and tenant_id = current_tenant();

-- name: memories_of_source
select id, key from memory
where source_id = %(source)s and tenant_id = current_tenant()
  and id > %(after)s and id <= %(newest)s
order by id
limit %(limit)s;

-- name: follow_source
update source set followed = %s::jsonb where id = %s and tenant_id = current_tenant();

-- name: unfollow_source
with registered as (
  select id, followed from source
  where tenant_id = current_tenant() and followed ->> 'target' = %s
  for update
), changed as (
  update source as s set followed = null, follower = null, followed_until = null
  from registered as r where s.id = r.id
)
select followed from registered;

-- name: followed_sources
select t.name, s.followed
from source as s join tenant as t on t.id = s.tenant_id
where s.followed is not null
order by s.id;

-- One worker follows a source, and the claim is a lease: a lock of a session would not survive a
-- pooler. A source is free when nobody follows it, when its lease ran out, or when its follower is
-- one of `own`: the claiming worker itself, or one that is known to be dead.
-- name: claim_followed
update source as s
set follower = %(name)s, followed_until = now() + %(seconds)s * interval '1 second'
where s.followed is not null
  and (s.follower is null or s.followed_until <= now() or s.follower = any(%(own)s))
returning s.id, s.tenant_id, s.followed;

-- name: next_free
select extract(epoch from min(followed_until) - now())::float8
from source where followed is not null and follower <> %s;

-- name: followers
select distinct follower from source where followed is not null and follower is not null;

-- name: release_followed
update source set follower = null, followed_until = null where follower = %s;

-- name: listen_sources
listen recall_source;

-- Triggers on the tables of a source that lies beside recall.
-- name: has_source_changed
select to_regprocedure('recall.source_changed()') is not null;

-- name: patience
set local lock_timeout = '5s';
