-- Doctor: what could be wrong in the index, counted; and how each is put right.
--
-- Every check returns one number, 0 when all is well. A repair runs in the transaction of its
-- check, as the owner, over all tenants, while writers of chunks wait.

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

-- A build that was interrupted leaves an index that is maintained and never used.
-- name: invalid_indexes
select count(*) from pg_index as i
join pg_class as c on c.oid = i.indexrelid
where c.relnamespace = 'recall'::regnamespace and not i.indisvalid;

-- Memories given up after five failures, kept with their error.
-- name: parked_jobs
select count(*) from job where parked_at is not null;

-- name: unpark_jobs
update job set parked_at = null, attempts = 0, together = null, alone = 0, due_at = 'epoch'
where parked_at is not null;
