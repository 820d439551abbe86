-- Units of work: what every transaction sets before its first statement, and how it signs.
--
-- `set_config(…, true)` lasts for the transaction and takes bound parameters; a session's `SET`
-- would stay with the server process, which a transaction pooler hands to another client. The server
-- ends the unit of a process that is gone: a running statement by its timeout, or when it finds the
-- socket closed; a transaction that waits for its next statement by the same timeout.
--
-- A unit that only reads is made read only, which nothing in it can undo. One that writes is left
-- as the server would have it: a standby refuses to be told that it may write.

-- name: enter_unit
select set_config('search_path', %(search_path)s, true),
       set_config('statement_timeout', %(timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(timeout)s, true),
       set_config('client_connection_check_interval', '2s', true),
       set_config('transaction_read_only',
                  case when %(writes)s then current_setting('transaction_read_only') else 'on' end,
                  true),
       set_config('recall.tenant', %(tenant)s, true),
       set_config('recall.user', %(user)s, true),
       set_config('role', 'recall_service', true);

-- name: enter_owner_unit
select set_config('search_path', %(search_path)s, true),
       set_config('statement_timeout', %(timeout)s, true),
       set_config('idle_in_transaction_session_timeout', %(timeout)s, true),
       set_config('client_connection_check_interval', '2s', true),
       set_config('transaction_read_only',
                  case when %(writes)s then current_setting('transaction_read_only') else 'on' end,
                  true),
       set_config('recall.tenant', '', true),
       set_config('recall.user', '', true);

-- A unit signs: it writes its id into its process's slot, and its COMMIT makes the signature stand.
-- When the answer to a COMMIT is lost, the unit signs again: a signature that stands already (no row
-- comes back) tells that it took effect. Signing waits for a transaction that has signed in this
-- slot and not ended.
-- name: sign_unit
insert into committed as c (process, slot, unit) values (%(process)s, %(slot)s, %(unit)s)
on conflict (process, slot) do update set unit = excluded.unit, at = now()
where c.unit <> excluded.unit
returning true;

-- Runs before the search path is set, so the function is named with its schema.
-- name: vector_schema
select pg_catalog.quote_ident(n.nspname::text)
from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace
where e.extname = 'vector';
