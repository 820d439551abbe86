-- The queue: jobs are claimed under a lease, finished by token, and parked after five failures.
--
-- A claimed job is due later, and whoever works on it moves that on while it works (a heartbeat);
-- when its worker dies, the lease runs out and another takes it. The token drawn by a claim proves
-- it: whoever lost the claim (the lease ran out, the note was replaced) deletes no job and writes
-- no chunk. Live memories (lane 0) go before a backfill's. Claiming serves all tenants and runs as
-- the owner; finishing runs as each job's tenant.
--
-- A job is due when its time has come, or lies further ahead than any lease or pause reaches: then
-- the clock went back. New jobs are due since 1970.

-- Of one lane at a time: fresh jobs first, as many as asked for. When there are none: jobs whose claim nobody ended, half
-- as many together as the last time, so that the one which ends its workers is alone soon.
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

-- What claimed jobs are about. Apart from the claim: a row that cannot be read spoils no claim.
-- name: memories_to_index
select m.id as memory_id, t.language, m.kind, m.content, m.title, m.role, m.author, m.user_id,
       m.session_id, m.created_at,
       exists (select from chunk as k where k.memory_id = m.id) as indexed
from memory as m join tenant as t on t.id = m.tenant_id
where m.id = any(%s);

-- The heartbeat: those of the claims that still hold.
-- name: renew
update job as j
set due_at = now() + %(lease)s * interval '1 second'
from unnest(%(memories)s::bigint[], %(tokens)s::bigint[]) as held(memory_id, token)
where j.memory_id = held.memory_id and j.token = held.token
returning j.memory_id;

-- Seconds until the next job of these lanes is due; none when there is none.
-- name: next_due
select min(case when due_at > now() + interval '10 minutes' then 0
           else greatest(extract(epoch from due_at - now()), 0) end)::float8
from job where parked_at is null and lane <= %(lane)s;

-- It was alone each time, and each time nobody was left to say how it went.
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

-- Pauses double from four seconds; the fifth failure parks the job with its error. The claim ends.
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

-- Tell the workers of every process that there are jobs, in the transaction that made them: they
-- hear it if and when it commits, even if its process dies there and then. A NOTIFY makes commits
-- take turns, so a process rings once a second at most, and who hears it looks twice.
-- name: ring
select pg_notify('recall_job', %s);

-- name: ring_register
select pg_notify('recall_register', '');

-- name: listen_jobs
listen recall_job;

-- name: listen_register
listen recall_register;
