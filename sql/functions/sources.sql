-- A trigger on the tables of an application that share recall's database: `recall follow --trigger`.
--
-- It tells recall's followers that something changed, and they look; what changed is read from the
-- tables. Whatever goes wrong here, the application's statement does not fail. A NOTIFY makes
-- commits of one database take turns, for the moment that it takes to queue it, and cannot be
-- prepared for a two-phase commit: that is why the trigger is asked for and not the rule.

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
