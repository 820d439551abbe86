-- Migrations: the ledger of what this database has run.
--
-- Everything runs in one transaction that first takes an advisory lock: of five processes that
-- start at once one works and four wait, then find nothing to do.

-- name: lock_migrations
select pg_advisory_xact_lock(hashtext('recall.migrate'));

-- name: create_ledger
create schema if not exists recall;
create extension if not exists vector;
create table if not exists recall.migration (
  name text primary key,
  checksum text not null,
  applied_at timestamptz not null default now()
);
create table if not exists recall.function_file (
  name text primary key,
  checksum text not null,
  defined_at timestamptz not null default now()
);

-- A function may only set pgvector's parameters when its library is loaded, unless a superuser
-- defines it; any vector loads it.
-- name: load_vector
select '[1]'::vector;

-- name: vector_version
select n.nspname, e.extversion
from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace
where e.extname = 'vector';

-- name: applied_migrations
select name, checksum from recall.migration;

-- name: record_migration
insert into recall.migration (name, checksum) values (%s, %s);

-- name: defined_functions
select name, checksum from recall.function_file;

-- name: record_functions
insert into recall.function_file (name, checksum) values (%s, %s)
on conflict (name) do update set checksum = excluded.checksum, defined_at = now();

-- Functions may name one another whatever file comes first.
-- name: any_order
set local check_function_bodies = off;
