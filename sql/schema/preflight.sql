-- Preflight: what this server, this database and this role are, by the catalogue alone.
--
-- No table of recall's is read, so it works on a database that is not recall's, and the catalogue
-- wants no right on the schemas that it describes. It runs before the search path is set, so
-- functions are named with their schema.

-- name: preflight
select pg_catalog.current_setting('server_version') as version,
       pg_catalog.current_setting('server_version_num')::integer as number,
       pg_catalog.current_setting('server_encoding') as encoding,
       pg_catalog.pg_is_in_recovery() as standby,
       pg_catalog.current_setting('transaction_read_only') = 'on' as read_only,
       pg_catalog.current_database()::text as database,
       current_user::text as role,
       pg_catalog.quote_ident(current_user) as quoted_role,
       pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create') as creates,
       r.rolsuper or r.rolcreaterole as makes_roles,
       s.oid is not null as has_service,
       s.oid is not null and pg_catalog.pg_has_role(current_user, s.oid, 'member') as is_member,
       n.oid is not null as has_schema,
       pg_catalog.pg_get_userbyid(n.nspowner)::text as owner,
       pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(n.nspowner)) as quoted_owner,
       n.oid is not null and pg_catalog.pg_has_role(current_user, n.nspowner, 'usage') as is_owner,
       (select pg_catalog.count(*) from pg_attribute as a join pg_class as c on c.oid = a.attrelid
        where c.relnamespace = n.oid and c.relname = 'migration'
          and a.attname in ('name', 'checksum')) = 2 as has_ledger,
       (select pg_catalog.min(c.relname) from pg_class as c where c.relnamespace = n.oid)::text as holds,
       (select extversion from pg_extension where extname = 'vector') as vector,
       exists (select from pg_available_extensions where name = 'vector') as vector_available
from pg_roles as r
left join pg_roles as s on s.rolname = 'recall_service'
left join pg_namespace as n on n.nspname = 'recall'
where r.rolname = current_user;

-- The server process of a connection: a transaction pooler hands the one that a client used last to
-- the next client.
-- name: backend
select pg_catalog.pg_backend_pid();
