-- Versions beside each other: what tables call stays put, all else is a version's own.
--
-- Policies, triggers and the triggers of `recall follow --trigger` belong to tables, and tables are
-- everybody's: the three functions that they call lie in schema `recall` and change only by a
-- migration. Every other function lies in a schema of its version (`recall/functions.py`); those of
-- older versions stay in `recall` until `recall migrate --prune`.

-- Chunks come and go in one place: whatever statement did it, the counts (and, on deletion, the
-- vectors) follow in the same transaction, and no writer can forget them.
create or replace function count_words() returns trigger
language plpgsql
set search_path = recall, pg_temp
as $$
declare
  sign integer := case tg_op when 'INSERT' then 1 else -1 end;
begin
  insert into word_count (profile_id, tenant_id, word, chunks)
  select c.profile_id, c.tenant_id, w.lexeme, sign * count(*)
  from changed as c cross join lateral unnest(c.words) as w
  group by 1, 2, 3;
  insert into corpus_count (profile_id, tenant_id, chunks, length)
  select c.profile_id, c.tenant_id, sign * count(*), sign * sum(c.length)
  from changed as c
  group by 1, 2;
  if tg_op = 'DELETE' then
    delete from embedding as e using changed as c
    where e.profile_id = c.profile_id and e.chunk_id = c.id;
  end if;
  return null;
end $$;

create or replace trigger count_inserted after insert on chunk
  referencing new table as changed for each statement execute function count_words();
create or replace trigger count_deleted after delete on chunk
  referencing old table as changed for each statement execute function count_words();

-- A trigger on the tables of an application that share recall's database tells recall's followers
-- that something changed, and they look; what changed is read from the tables. Whatever goes wrong
-- here, the application's statement does not fail. A NOTIFY makes commits of one database take
-- turns, for the moment that it takes to queue it, and cannot be prepared for a two-phase commit:
-- that is why the trigger is asked for and not the rule.
create or replace function source_changed() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
  perform pg_notify('recall_source', '');
  return null;
exception when others then
  return null;
end $$;

-- Nobody's but recall's, as far as an older version beside this one lets it; the application's
-- owner makes the trigger, so `source_changed` is everybody's.
grant execute on all functions in schema recall to recall_service;
revoke execute on all functions in schema recall from public;
do $$
begin
  revoke execute on function compact() from recall_service;
exception when undefined_function then null;  -- a new database never had it here
end $$;
revoke execute on function count_words(), source_changed() from recall_service;
grant execute on function source_changed() to public;
