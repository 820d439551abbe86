-- Migrations: the ledger, which is the table of the migrations that ran here, and the functions.
--
-- Everything runs in one transaction that first takes an advisory lock: of five processes that
-- start at once one works and four wait, then find nothing to do. What is in order is only read, so
-- a start on a server that is read-only works.
--
-- Versions meet. A migration that takes nothing away (a new table, a column with a default, an
-- index) says so in a line of its own, `-- compatible`, which the ledger keeps: an older version
-- lives with it and goes on to start. Any other makes older versions refuse to start. Functions
-- are no matter of the ledger: every version has its own (`recall/schema/functions.py`).

-- name: lock_migrations
select pg_advisory_xact_lock(hashtext('recall.migrate')::bigint);

-- Until the search path is this one, an object that others made could stand in for one that is
-- called. Zone and style are fixed because the catalogue writes times in definitions by the reader's.
-- name: enter_migration
select pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('timezone', 'UTC', true),
       pg_catalog.set_config('datestyle', 'ISO, YMD', true),
       pg_catalog.set_config('quote_all_identifiers', 'off', true),
       pg_catalog.set_config('statement_timeout', '0', true);

-- What stands already: who owns recall's schema, whether the one who asks may act as that owner,
-- whether the ledger is there and knows of compatible migrations, and where which pgvector lies.
-- name: ground
select pg_get_userbyid(n.nspowner) as owner,
       pg_has_role(current_user, n.nspowner, 'usage') as ours,
       (select count(*) from pg_class as c join pg_attribute as a on a.attrelid = c.oid
        where c.relnamespace = n.oid and (c.relname, a.attname)
          in (('migration', 'compatible'), ('function_file', 'checksum'))) = 2 as ledger,
       quote_ident(v.nspname) as vector, e.extversion as version
from (select) as always
left join pg_namespace as n on n.nspname = 'recall'
left join pg_extension as e on e.extname = 'vector'
left join pg_namespace as v on v.oid = e.extnamespace;

-- name: create_ledger
create schema if not exists recall;
do $$
begin
  if not exists (select from pg_extension where extname = 'vector') then
    execute format('create extension vector schema %I',
                   case when to_regnamespace('public') is null then 'recall' else 'public' end);
  end if;
end $$;
create table if not exists recall.migration (
  name text primary key,
  checksum text not null,
  applied_at timestamptz not null default now()
);
alter table recall.migration add column if not exists compatible boolean not null default false;
create table if not exists recall.function_file (
  name text primary key,
  checksum text not null,
  defined_at timestamptz not null default now()
);

-- A database restored into another cluster may lack the role, or its owner may not act as it. The
-- role that connects makes the one and grants the other; behind this, all is done as the owner.
-- name: ready_role
do $$
declare
  owner name := (select pg_get_userbyid(nspowner) from pg_namespace where nspname = 'recall');
begin
  if to_regrole('recall_service') is null then
    begin
      create role recall_service nologin noinherit nobypassrls;
    exception when duplicate_object or unique_violation then null;  -- another database just did
    end;
  end if;
  if not pg_has_role(owner, 'recall_service',
       case when current_setting('server_version_num')::integer < 160000 then 'member' else 'set' end)
  then
    execute format('grant recall_service to %I', owner);
  end if;
end $$;

-- name: has_ledger
select exists (select from pg_class where relname = 'migration'
               and relnamespace = (select oid from pg_namespace where nspname = 'recall'));

-- By `to_jsonb`, because a ledger of an older version has no column `compatible`.
-- name: applied_migrations
select name, checksum, coalesce((to_jsonb(m) ->> 'compatible')::boolean, false) as compatible
from recall.migration as m;

-- name: record_migration
insert into recall.migration (name, checksum, compatible) values (%s, %s, %s);

-- name: profiles_there
select id::text from recall.profile order by id;

-- Functions of a version: their schema's owner, and of each function whether it is its owner's,
-- whether recall_service and whether everybody may call it.
-- name: functions_there
select p.proname as name, p.proowner = r.nspowner as owned,
       exists (select from aclexplode(p.proacl) as a
               where a.grantee = to_regrole('recall_service') and a.privilege_type = 'EXECUTE')
         and exists (select from aclexplode(n.nspacl) as a
               where a.grantee = to_regrole('recall_service') and a.privilege_type = 'USAGE') as by_service,
       p.proacl is null or exists (select from aclexplode(p.proacl) as a where a.grantee = 0) as by_all
from pg_namespace as n
join pg_namespace as r on r.nspname = 'recall'
join pg_proc as p on p.pronamespace = n.oid
where n.nspname = %s;

-- name: schema_owner
select pg_get_userbyid(nspowner) as owner, pg_has_role(current_user, nspowner, 'usage') as ours
from pg_namespace where nspname = %s;

-- name: record_functions
insert into recall.function_file (name, checksum) values (%s, %s)
on conflict (name) do update set checksum = excluded.checksum, defined_at = now();

-- Files are defined in the order of their names, and a function may name one of a later file.
-- name: any_order
set local check_function_bodies = off;

-- Other versions' functions: their schemas, and in `recall` those that no table calls. Only schemas
-- that `function_file` lists: any other of such a name may be somebody else's.
-- name: other_functions
select 'drop schema ' || quote_ident(n.nspname) || ' cascade'
from pg_namespace as n join recall.function_file as f on f.name = n.nspname
where n.nspname ~ '^recall_[0-9a-f]{8}$' and n.nspname <> %(own)s
union all
select 'drop function ' || p.oid::regprocedure
from pg_proc as p
where p.pronamespace = 'recall'::regnamespace
  and p.proname not in ('current_tenant', 'count_words', 'source_changed')
  and not exists (select from pg_depend as d
                  where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e');

-- name: forget_other_functions
delete from recall.function_file where name <> %s;
