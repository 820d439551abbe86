-- Doctor: what could be wrong in the index, counted; and how each is put right.
--
-- Every check returns one number, 0 when all is well. A repair runs in the transaction of its
-- check, as the owner, over all tenants, while writers of chunks wait. What the schema has lost is
-- found by comparing it with what it should be (`sql/schema/parts.sql`), before these.

-- name: hold_index
lock table chunk, embedding in share row exclusive mode;

-- Counts of words that differ from what the chunks hold.
-- name: wrong_word_counts
with counted as (
  select c.profile_id, c.tenant_id, w.lexeme as word, count(*) as chunks
  from chunk as c cross join lateral unnest(c.words) as w
  group by 1, 2, 3
), kept as (
  select profile_id, tenant_id, word, sum(chunks) as chunks from word_count group by 1, 2, 3
)
select count(*)
from counted full join kept using (profile_id, tenant_id, word)
where coalesce(counted.chunks, 0) <> coalesce(kept.chunks, 0);

-- name: recount_words
with dropped as (delete from word_count)
insert into word_count (profile_id, tenant_id, word, chunks)
select c.profile_id, c.tenant_id, w.lexeme, count(*)
from chunk as c cross join lateral unnest(c.words) as w
group by 1, 2, 3;

-- name: wrong_corpus_counts
with counted as (
  select profile_id, tenant_id, count(*) as chunks, sum(length) as length
  from chunk group by 1, 2
), kept as (
  select profile_id, tenant_id, sum(chunks) as chunks, sum(length) as length
  from corpus_count group by 1, 2
)
select count(*)
from counted full join kept using (profile_id, tenant_id)
where coalesce(counted.chunks, 0) <> coalesce(kept.chunks, 0)
   or coalesce(counted.length, 0) <> coalesce(kept.length, 0);

-- name: recount_corpus
with dropped as (delete from corpus_count)
insert into corpus_count (profile_id, tenant_id, chunks, length)
select profile_id, tenant_id, count(*), sum(length) from chunk group by 1, 2;

-- Memories that are neither in the active profile's index nor waiting for it.
-- name: lost_memories
select count(*)
from memory as m
where not exists (select from job as j where j.memory_id = m.id)
  and not exists (select from chunk as c join profile as p on p.id = c.profile_id and p.active
                  where c.memory_id = m.id);

-- name: queue_lost_memories
insert into job (memory_id, tenant_id, lane)
select m.id, m.tenant_id, 1
from memory as m
where not exists (select from job as j where j.memory_id = m.id)
  and not exists (select from chunk as c join profile as p on p.id = c.profile_id and p.active
                  where c.memory_id = m.id)
on conflict (memory_id) do nothing;

-- Chunks that lack their vector: made again from their memories.
-- name: chunks_without_vector
select count(*) from chunk as c
where not exists (select from embedding as e
                  where e.profile_id = c.profile_id and e.chunk_id = c.id);

-- name: queue_chunks_without_vector
insert into job (memory_id, tenant_id, lane)
select distinct c.memory_id, c.tenant_id, 1
from chunk as c
where not exists (select from embedding as e
                  where e.profile_id = c.profile_id and e.chunk_id = c.id)
on conflict (memory_id) do nothing;

-- name: vectors_without_chunk
select count(*) from embedding as e
where not exists (select from chunk as c where c.profile_id = e.profile_id and c.id = e.chunk_id);

-- name: drop_vectors_without_chunk
delete from embedding as e
where not exists (select from chunk as c where c.profile_id = e.profile_id and c.id = e.chunk_id);

-- Memories whose chunks were made from another text, another speaker or another time, and that do
-- not wait to be indexed again.
-- name: stale_index
select count(*)
from memory as m
where not exists (select from job as j where j.memory_id = m.id)
  and exists (
    select from chunk as c join profile as p on p.id = c.profile_id and p.active
    where c.memory_id = m.id
      and (c.digest <> hashtextextended(concat(m.kind, E'\x1f', m.role, E'\x1f', m.author, E'\x1f',
                                               m.title, E'\x1f', m.content), 0)
           or (c.tenant_id, c.kind, c.role, c.author, c.user_id, c.created_at)
             is distinct from (m.tenant_id, m.kind, m.role, m.author, m.user_id, m.created_at)));

-- name: queue_stale_index
insert into job (memory_id, tenant_id, lane)
select m.id, m.tenant_id, 1
from memory as m
where not exists (select from job as j where j.memory_id = m.id)
  and exists (
    select from chunk as c join profile as p on p.id = c.profile_id and p.active
    where c.memory_id = m.id
      and (c.digest <> hashtextextended(concat(m.kind, E'\x1f', m.role, E'\x1f', m.author, E'\x1f',
                                               m.title, E'\x1f', m.content), 0)
           or (c.tenant_id, c.kind, c.role, c.author, c.user_id, c.created_at)
             is distinct from (m.tenant_id, m.kind, m.role, m.author, m.user_id, m.created_at)))
on conflict (memory_id) do nothing;

-- Where the foreign key was lost for a while.
-- name: chunks_without_memory
select count(*) from chunk as c where not exists (select from memory as m where m.id = c.memory_id);

-- name: drop_chunks_without_memory
delete from chunk as c where not exists (select from memory as m where m.id = c.memory_id);

-- Sequences that would give out again what rows have already, as after a restore of the rows alone.
-- name: sequences_behind
select count(*)
from (values
  ('recall.tenant_id_seq'::regclass, (select max(id) from recall.tenant)::bigint),
  ('recall.api_key_id_seq', (select max(id) from recall.api_key)),
  ('recall.source_id_seq', (select max(id) from recall.source)),
  ('recall.session_id_seq', (select max(id) from recall.session)),
  ('recall.memory_id_seq', (select max(id) from recall.memory)),
  ('recall.profile_id_seq', (select max(id) from recall.profile)),
  ('recall.chunk_id', (select max(id) from recall.chunk)),
  ('recall.job_token', (select max(token) from recall.job))
) as s(sequence, highest)
where s.highest > coalesce(pg_sequence_last_value(s.sequence), 0);

-- name: advance_sequences
select setval(s.sequence, s.highest)
from (values
  ('recall.tenant_id_seq'::regclass, (select max(id) from recall.tenant)::bigint),
  ('recall.api_key_id_seq', (select max(id) from recall.api_key)),
  ('recall.source_id_seq', (select max(id) from recall.source)),
  ('recall.session_id_seq', (select max(id) from recall.session)),
  ('recall.memory_id_seq', (select max(id) from recall.memory)),
  ('recall.profile_id_seq', (select max(id) from recall.profile)),
  ('recall.chunk_id', (select max(id) from recall.chunk)),
  ('recall.job_token', (select max(token) from recall.job))
) as s(sequence, highest)
where s.highest > coalesce(pg_sequence_last_value(s.sequence), 0);

-- Tables of 8 MB and more that the planner knows nothing of, as after a restore.
-- name: tables_without_statistics
select count(*) from pg_class as c
where c.relnamespace = 'recall'::regnamespace and c.relkind = 'r' and c.reltuples < 0
  and pg_relation_size(c.oid) >= 8 * 1024 * 1024;

-- name: gather_statistics
analyze memory, session, job, chunk, embedding, word_count, corpus_count;

-- Roles besides their owner that may create in recall's schemas, and so stand in for what it calls.
-- name: open_schemas
select count(*)
from pg_namespace as n cross join lateral aclexplode(n.nspacl) as a
where n.nspname ~ '^recall(_[0-9a-f]{8})?$' and a.privilege_type = 'CREATE'
  and a.grantee <> n.nspowner;

-- name: close_schemas
do $$
declare
  open record;
begin
  for open in
    select quote_ident(n.nspname) as schema, coalesce(quote_ident(r.rolname), 'public') as role
    from pg_namespace as n cross join lateral aclexplode(n.nspacl) as a
    left join pg_roles as r on r.oid = a.grantee
    where n.nspname ~ '^recall(_[0-9a-f]{8})?$' and a.privilege_type = 'CREATE'
      and a.grantee <> n.nspowner
  loop
    execute format('revoke create on schema %s from %s cascade', open.schema, open.role);
  end loop;
end $$;

-- Functions that run as recall's owner and look names up in a schema where others may create: those
-- of versions that kept them in `recall`, which are there until `recall migrate --prune`.
-- name: exposed_functions
select count(*)
from pg_proc as p
join pg_namespace as n on n.oid = p.pronamespace
where n.nspname ~ '^recall(_[0-9a-f]{8})?$' and p.prosecdef
  and exists (
    select
    from pg_options_to_table(p.proconfig) as o
    cross join lateral unnest(string_to_array(replace(o.option_value, '"', ''), ', ')) as s(name)
    join pg_namespace as looked on looked.nspname = s.name
    cross join lateral aclexplode(coalesce(looked.nspacl, acldefault('n', looked.nspowner))) as a
    left join pg_roles as r on r.oid = a.grantee
    where o.option_name = 'search_path' and a.privilege_type = 'CREATE'
      and a.grantee <> p.proowner and r.rolsuper is not true
      -- The database's owner stands behind this role.
      and (r.rolname is distinct from 'pg_database_owner' or p.proowner <> (
        select datdba from pg_database where datname = current_database())));

-- Memories given up after five failures, kept with their error.
-- name: parked_jobs
select count(*) from job where parked_at is not null;

-- name: unpark_jobs
update job set parked_at = null, attempts = 0, together = null, alone = 0, due_at = 'epoch'
where parked_at is not null;
