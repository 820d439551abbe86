-- The queue: jobs are claimed under a lease, finished by token, and parked after five failures.
--
-- A claim moves a job's `due_at` to the end of the lease, and its worker's heartbeat moves it on; when
-- the worker dies, the lease ends and another worker claims the job. A claim draws a token, and only
-- the token's holder may finish: a worker that lost its claim (the lease ended, the note was
-- replaced) deletes no job and writes no chunk. Live memories (lane 0) go before a backfill's.
-- Claiming serves all tenants and runs as the owner; finishing runs as each job's tenant.
--
-- A job is due when `due_at` has come, or lies further ahead than any lease or pause reaches: then
-- the clock was turned back. New jobs are due since 1970.

-- Jobs of one lane, fresh ones first, as many as asked for. When none is fresh: jobs whose claim
-- ended with its lease, half as many `together` as in that claim, so that after a few claims the job
-- that kills its workers is claimed alone.
-- name: claim
with kind as materialized (
  select lane, together from job
  where parked_at is null and (due_at <= now() or due_at > now() + interval '10 minutes')
    and lane <= %(lane)s
  order by lane, (together is not null), memory_id
  limit 1
), due as materialized (
  select memory_id from job as j
  where parked_at is null and (due_at <= now() or due_at > now() + interval '10 minutes')
    and lane = (select lane from kind)
    and (together is not null) = (select together is not null from kind)
    and (together is null or together = (select together from kind))
  order by memory_id
  limit (select least(%(limit)s, greatest(coalesce(together, 2 * %(limit)s) / 2, 1)) from kind)
  for update skip locked
), claimed as (
  update job as j
  set due_at = now() + %(lease)s * interval '1 second', token = nextval('job_token'),
      together = (select count(*) from due),
      alone = j.alone + ((select count(*) from due) = 1)::integer
  from due as d
  where j.memory_id = d.memory_id
  returning j.memory_id, j.tenant_id, j.token, j.lane
)
select c.memory_id, c.tenant_id, c.token, c.lane, octet_length(m.content) as bytes
from claimed as c join memory as m on m.id = c.memory_id
order by c.memory_id;

-- The texts of claimed jobs. Not read by the claim itself: a row that cannot be read would spoil it.
-- name: memories_to_index
select m.id as memory_id, t.language, m.kind, m.content, m.title, m.role, m.author, m.user_id,
       m.session_id, m.created_at,
       exists (select from chunk as k where k.memory_id = m.id) as indexed
from memory as m join tenant as t on t.id = m.tenant_id
where m.id = any(%s);

-- The heartbeat: renews claims, and returns those that are still held.
-- name: renew
update job as j
set due_at = now() + %(lease)s * interval '1 second'
from unnest(%(memories)s::bigint[], %(tokens)s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token
returning j.memory_id;

-- Seconds until the next job of these lanes is due; null without one.
-- name: next_due
select min(case when due_at > now() + interval '10 minutes' then 0
           else greatest(extract(epoch from due_at - now()), 0) end)::float8
from job where parked_at is null and lane <= %(lane)s;

-- Jobs that were claimed alone five times, and whose workers never ended the claim.
-- name: park_deadly
update job
set parked_at = now(),
    error = 'five workers in a row died, or were cut off, while they indexed this memory alone'
where parked_at is null and alone >= 5 and due_at <= now();

-- name: finish
delete from job as j
using unnest(%s::bigint[], %s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token and j.tenant_id = current_tenant()
returning j.memory_id;

-- Chunks and the end of their jobs are one transaction. A crash of the server that loses its last
-- commits loses both, and the jobs are done again: so no commit waits for the disk.
-- name: without_waiting
set local synchronous_commit = off;

-- name: drop_chunks
delete from chunk
where profile_id = %s and memory_id = any(%s) and tenant_id = current_tenant();

-- Tokens hold no white space, so those of a chunk travel as one string, and their places as another.
-- Many chunks of a batch have the same head, which travels once.
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

-- The pause before the next attempt doubles: 4, 8, 16, 32 seconds. The fifth failure parks the job
-- with its error. A new token ends the claim.
-- name: fail
update job as j
set error = held.error, attempts = j.attempts + 1,
    due_at = now() + least(2 * power(2, j.attempts + 1), 300) * interval '1 second',
    parked_at = case when j.attempts >= 4 then now() end,
    token = nextval('job_token'), together = null, alone = 0
from unnest(%(memories)s::bigint[], %(tokens)s::bigint[], %(errors)s::text[])
     as held(memory_id, token, error)
where j.memory_id = held.memory_id and j.token = held.token
returning extract(epoch from due_at - now())::float8;

-- Give claims back as if they had never been made.
-- name: release
update job as j
set due_at = 'epoch', token = nextval('job_token'), together = null, alone = 0
from unnest(%(memories)s::bigint[], %(tokens)s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token;

-- How many of these memories wait, and how many were given up.
-- name: unindexed
select count(*) filter (where parked_at is null) as pending,
       count(*) filter (where parked_at is not null) as failed
from job where tenant_id = current_tenant() and memory_id = any(%s);

-- Memories that were given up, and why; the newest first.
-- name: parked
select j.memory_id as id, m.kind, m.key, s.key as session_id, left(m.content, 200) as begins,
       j.attempts, j.parked_at, j.error
from job as j
join memory as m on m.id = j.memory_id
left join session as s on s.id = m.session_id
where j.tenant_id = current_tenant() and j.parked_at is not null
  and (%(before)s::bigint is null or j.memory_id < %(before)s)
order by j.memory_id desc
limit %(limit)s;

-- Try them again from the start: these, or all of the tenant.
-- name: retry
update job
set parked_at = null, error = null, attempts = 0, alone = 0, together = null, due_at = 'epoch',
    token = nextval('job_token')
where tenant_id = current_tenant() and parked_at is not null
  and (%(ids)s::bigint[] is null or memory_id = any(%(ids)s))
returning memory_id;

-- name: halfvec_oid
select atttypid::integer from pg_attribute
where attrelid = 'embedding'::regclass and attname = 'meaning';

-- name: compact
select compact();

-- Signatures of processes that are no more (`sql/database/unit.sql`).
-- name: sweep_signatures
delete from committed where at < now() - interval '1 day';

-- A ring tells the workers of every process that there are jobs, in the transaction that made them:
-- it is delivered if and when that commits, even if its process dies then. Commits with a NOTIFY
-- take turns, so a process rings once a second at most, and a process that hears one looks twice.
-- name: ring
select pg_notify('recall_job', %s);

-- name: ring_register
select pg_notify('recall_register', '');

-- name: listen_jobs
listen recall_job;

-- name: listen_register
listen recall_register;
