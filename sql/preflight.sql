-- Before a start: what this server, this database and this role are, asked of the catalogue alone.
--
-- Nothing of recall's is touched, so that it can be asked of a database that is not recall's. What
-- the catalogue tells needs no right on the schemas that it tells of.

-- name: preflight
select current_setting('server_version') as version,
       current_setting('server_version_num')::integer as number,
       current_setting('server_encoding') as encoding,
       pg_is_in_recovery() as standby,
       current_setting('transaction_read_only') = 'on' as read_only,
       current_database()::text as database,
       current_user::text as role,
       quote_ident(current_user) as quoted_role,
       has_database_privilege(current_database(), 'create') as creates,
       r.rolsuper or r.rolcreaterole as makes_roles,
       r.rolsuper as superuser,
       s.oid is not null as has_service,
       s.oid is not null and pg_has_role(current_user, s.oid, 'member') as is_member,
       n.oid is not null as has_schema,
       (select count(*) from pg_attribute as a join pg_class as c on c.oid = a.attrelid
        where c.relnamespace = n.oid and c.relname = 'migration'
          and a.attname in ('name', 'checksum')) = 2 as has_ledger,
       (select min(c.relname) from pg_class as c where c.relnamespace = n.oid)::text as holds,
       (select extversion from pg_extension where extname = 'vector') as vector,
       exists (select from pg_available_extensions where name = 'vector') as vector_available
from pg_roles as r
left join pg_roles as s on s.rolname = 'recall_service'
left join pg_namespace as n on n.nspname = 'recall'
where r.rolname = current_user;

-- A transaction pooler gives the server that one client has just used to the next who asks.
-- name: backend
select pg_backend_pid();
