-- The queue: jobs are claimed under a lease, finished by token, and parked after five failures.
--
-- A claimed job is simply due later: when its worker dies, the lease runs out and another takes
-- it. The token drawn by a claim proves it; whoever lost the claim (the lease ran out, the note
-- was replaced) deletes no job and writes no chunk. Live memories (lane 0) go before a backfill's.
-- Claiming serves all tenants and runs as the owner; finishing runs as each job's tenant.

-- name: claim
with due as (
  select memory_id from job
  where parked_at is null and due_at <= now() and attempts < 5 and lane <= %(lane)s
  order by lane, memory_id
  limit %(limit)s
  for update skip locked
), claimed as (
  update job as j
  set due_at = now() + %(lease)s * interval '1 second', attempts = j.attempts + 1,
      token = nextval('job_token')
  from due
  where j.memory_id = due.memory_id
  returning j.memory_id, j.tenant_id, j.token, j.lane
)
select c.memory_id, c.tenant_id, c.token, c.lane, t.language, m.kind, m.content,
       m.title, m.role, m.author, m.user_id, m.session_id, m.created_at,
       exists (select from chunk as k where k.memory_id = c.memory_id) as indexed
from claimed as c
join memory as m on m.id = c.memory_id
join tenant as t on t.id = c.tenant_id
order by c.lane, c.memory_id;

-- Seconds until the next job is due; none when there is none.
-- name: next_due
select extract(epoch from min(due_at) - now())::float8
from job where parked_at is null and attempts < 5;

-- A job whose workers died five times never said why; it is parked all the same.
-- name: park_exhausted
update job
set parked_at = now(),
    error = coalesce(error, 'every worker that claimed it died or lost its lease')
where parked_at is null and attempts >= 5 and due_at <= now();

-- name: finish
delete from job as j
using unnest(%s::bigint[], %s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token and j.tenant_id = current_tenant()
returning j.memory_id;

-- Chunks and the end of their jobs are one transaction: a crash that takes the last moments of it
-- takes both, and the jobs are done again. So nobody waits for the disk.
-- name: without_waiting
set local synchronous_commit = off;

-- name: drop_chunks
delete from chunk
where profile_id = %s and memory_id = any(%s) and tenant_id = current_tenant();

-- Tokens hold no white space, so a chunk's travel as one string, and their places as another. Many
-- chunks of a batch stand under the same head, which travels once.
-- name: write_chunks
with given as materialized (
  select nextval('chunk_id') as id, g.*
  from unnest(%(memories)s::bigint[], %(pieces)s::integer[], %(starts)s::integer[],
              %(ends)s::integer[], %(head_of)s::integer[], meanings(%(meanings)b)) with ordinality
       as g(memory_id, piece, starts, ends, head, meaning, number)
), text_words as materialized (
  select * from texts_words(current_tenant(), %(language)s, %(tokens)s::text[], %(places)s::text[])
), head_words as materialized (
  select * from texts_words(current_tenant(), %(language)s, %(heads)s::text[])
), written as (
  insert into chunk (id, profile_id, tenant_id, memory_id, piece, kind, thread, role, author,
                     user_id, created_at, starts, ends, length, digest, words)
  select g.id, %(profile)s, current_tenant(), g.memory_id, g.piece, m.kind,
         coalesce(m.session_id, -m.id), m.role,
         m.author, m.user_id, m.created_at, g.starts, g.ends, w.length,
         hashtextextended(concat(m.kind, E'\x1f', m.role, E'\x1f', m.author, E'\x1f', m.title,
                                 E'\x1f', m.content), 0),
         labelled(w.words, h.words, w.length)
  from given as g
  join memory as m on m.id = g.memory_id
  join text_words as w on w.number = g.number
  join head_words as h on h.number = g.head
)
insert into embedding (chunk_id, profile_id, tenant_id, meaning)
select id, %(profile)s, current_tenant(), meaning from given;

-- Back-off doubles from two seconds; the fifth failure parks the job with its error.
-- name: fail
update job as j
set error = %(error)s,
    due_at = now() + least(2 * power(2, j.attempts), 300) * interval '1 second',
    parked_at = case when j.attempts >= 5 then now() end
from unnest(%(memories)s::bigint[], %(tokens)s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token;

-- Give claims back untouched: a worker that is told to stop does not make others wait.
-- name: release
update job as j
set due_at = now(), attempts = j.attempts - 1
from unnest(%(memories)s::bigint[], %(tokens)s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token;

-- name: unindexed
select count(*) from job where tenant_id = current_tenant() and memory_id = any(%s)
  and parked_at is null;

-- name: halfvec_oid
select atttypid::integer from pg_attribute
where attrelid = 'embedding'::regclass and attname = 'meaning';

-- name: compact
select compact();

-- Wake workers in other processes. Outside the transaction that stored: a NOTIFY in it would make
-- commits wait for one another.
-- name: ring
select pg_notify('recall_job', '');

-- name: listen
listen recall_job;
