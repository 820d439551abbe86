-- Units of work: what every transaction sets before its first statement.
--
-- `set_config(…, true)` lasts for the transaction, takes bound parameters, and is right behind a
-- transaction pooler, where a session `SET` would leak to a stranger.

-- name: enter_unit
select set_config('search_path', %(search_path)s, true),
       set_config('statement_timeout', %(timeout)s, true),
       set_config('recall.tenant', %(tenant)s, true),
       set_config('role', 'recall_service', true);

-- name: enter_owner_unit
select set_config('search_path', %(search_path)s, true),
       set_config('statement_timeout', %(timeout)s, true),
       set_config('recall.tenant', %(tenant)s, true);

-- name: vector_schema
select quote_ident(n.nspname)
from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace
where e.extname = 'vector';
