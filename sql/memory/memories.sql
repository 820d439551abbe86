-- Memories: the write side, and reading sessions back.
--
-- A memory and its job are stored by one statement in one transaction: what was acknowledged will
-- be indexed, whatever dies afterwards. A known key is the same memory: it is stored once, and
-- answered with the id that it has. Rows go in in order of their keys, so that two batches that
-- share keys or sessions wait for each other instead of deadlocking.
--
-- A known memory is looked up by its key, one key at a time (`lateral … offset 0`): a join would be
-- planned by statistics that a large load has outgrown, and would read all of the tenant. Arrays
-- travel in binary, at a fifth of the cost of text.

-- name: save_messages
with given as materialized (
  select nextval('memory_id_seq') as id, g.*
  from unnest(%(sessions)b::text[], %(titles)b::text[], %(roles)b::text[], %(contents)b::text[],
              %(keys)b::text[], %(authors)b::text[], %(users)b::text[],
              %(times)b::timestamptz[], %(metadata)b::text[])
       with ordinality
       as g(session_key, session_title, role, content, key, author, user_id, at, metadata, place)
), touched as (
  insert into session as s (tenant_id, key, title, created_at, last_at)
  select current_tenant(), session_key, (array_agg(session_title order by place)
           filter (where session_title is not null))[1],
         min(coalesce(at, clock_timestamp())), max(coalesce(at, clock_timestamp()))
  from given
  group by session_key
  order by session_key
  on conflict (tenant_id, key) do update
    set title = coalesce(excluded.title, s.title),
        last_at = greatest(s.last_at, excluded.last_at)
  returning s.id, s.key
), stored as (
  insert into memory (id, tenant_id, kind, session_id, source_id, key, role, author, user_id,
                      content, metadata, created_at)
  select g.id, current_tenant(), 'message', t.id, %(source)s, g.key, g.role, g.author, g.user_id,
         g.content, g.metadata::jsonb,
         -- Turns without a time get one clock reading, a microsecond apart in the caller's order.
         coalesce(g.at, statement_timestamp() + g.place * interval '1 microsecond')
  from given as g join touched as t on t.key = g.session_key
  order by g.key, g.place
  on conflict (tenant_id, key) do nothing
  returning id, key
), queued as (
  insert into job (memory_id, tenant_id, lane)
  select id, current_tenant(), %(lane)s from stored
)
select g.place, coalesce(s.id, twin.id, known.id) as id, s.id is not null as accepted,
       known.source_id = %(source)s and known.kind = 'message'
         and ((known.content, known.role, known.author) is distinct from (g.content, g.role, g.author)
              or known.metadata <> g.metadata::jsonb) as differs
from given as g
left join stored as s on s.id = g.id
left join stored as twin on twin.key = g.key
left join lateral (
  select m.* from memory as m
  where s.id is null and m.tenant_id = current_tenant() and m.key = g.key
  offset 0
) as known on true
order by g.place;

-- name: save_notes
with given as materialized (
  select nextval('memory_id_seq') as id, g.*
  from unnest(%(titles)b::text[], %(contents)b::text[], %(keys)b::text[], %(categories)b::text[],
              %(users)b::text[], %(times)b::timestamptz[], %(metadata)b::text[])
       with ordinality as g(title, content, key, category, user_id, at, metadata, place)
), stored as (
  insert into memory (id, tenant_id, kind, source_id, key, title, category, user_id, content,
                      metadata, created_at)
  select g.id, current_tenant(), 'note', %(source)s, g.key, g.title, g.category, g.user_id,
         g.content, g.metadata::jsonb,
         coalesce(g.at, statement_timestamp() + g.place * interval '1 microsecond')
  from given as g
  order by g.key, g.place
  on conflict (tenant_id, key) do nothing
  returning id, key
), queued as (
  insert into job (memory_id, tenant_id, lane)
  select id, current_tenant(), %(lane)s from stored
)
select g.place, coalesce(s.id, twin.id, known.id) as id, s.id is not null as accepted,
       known.source_id = %(source)s and known.kind = 'note'
         and ((known.content, known.title, known.category) is distinct from (g.content, g.title, g.category)
              or known.metadata <> g.metadata::jsonb) as differs
from given as g
left join stored as s on s.id = g.id
left join stored as twin on twin.key = g.key
left join lateral (
  select m.* from memory as m
  where s.id is null and m.tenant_id = current_tenant() and m.key = g.key
  offset 0
) as known on true
order by g.place;

-- A key that another transaction stored while this one ran is invisible to its statement, and
-- visible to the next one.
-- name: ids_by_key
select key, id from memory where tenant_id = current_tenant() and key = any(%s);

-- Replace a note's text. Its job starts afresh, so a worker that still holds the old text loses
-- its claim and writes nothing.
-- name: replace_note
with changed as (
  update memory
  set title = %(title)s, content = %(content)s, category = %(category)s, user_id = %(user_id)s,
      metadata = %(metadata)s::jsonb, created_at = coalesce(%(created_at)s, created_at),
      updated_at = now()
  where id = %(id)s and tenant_id = current_tenant() and kind = 'note'
  returning id
), queued as (
  insert into job as j (memory_id, tenant_id)
  select id, current_tenant() from changed
  on conflict (memory_id) do update
    set token = nextval('job_token'), lane = 0, due_at = 'epoch', queued_at = now(), attempts = 0,
        together = null, alone = 0, parked_at = null, error = null
)
select id from changed;

-- name: note
select id, key, title, category, user_id, content, metadata, created_at, updated_at
from memory
where id = %s and tenant_id = current_tenant() and kind = 'note';

-- Newest activity first, a page at a time, from behind or before a cursor (last_at, id).
-- name: sessions_page
select s.id, s.key, s.title, s.created_at, s.last_at,
       (select count(*) from memory as m where m.session_id = s.id) as messages
from session as s
where s.tenant_id = current_tenant()
  and (%(at)s::timestamptz is null or (s.last_at, s.id) < (%(at)s, %(id)s))
order by s.last_at desc, s.id desc
limit %(limit)s;

-- name: sessions_page_back
select s.id, s.key, s.title, s.created_at, s.last_at,
       (select count(*) from memory as m where m.session_id = s.id) as messages
from session as s
where s.tenant_id = current_tenant() and (s.last_at, s.id) > (%(at)s, %(id)s)
order by s.last_at, s.id
limit %(limit)s;

-- name: session_by_key
select id from session where tenant_id = current_tenant() and key = %s;

-- name: messages_page
select id, key, role, author, user_id, content, metadata, created_at
from memory
where session_id = %(session)s
  and (%(at)s::timestamptz is null or (created_at, id) > (%(at)s, %(id)s))
order by created_at, id
limit %(limit)s;

-- name: messages_page_back
select id, key, role, author, user_id, content, metadata, created_at
from memory
where session_id = %(session)s
  and (%(at)s::timestamptz is null or (created_at, id) < (%(at)s, %(id)s))
order by created_at desc, id desc
limit %(limit)s;
