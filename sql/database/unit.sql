-- Units of work: what every transaction sets before its first statement, and how it signs.
--
-- `set_config(…, true)` lasts for the transaction, takes bound parameters, and is right behind a
-- transaction pooler, where a session `SET` would leak to a stranger. A unit whose process went
-- away is ended by the server: a statement that runs by its timeout or when the socket is found
-- closed, a transaction that waits for its next statement by the same timeout.
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

-- A unit signs with its id in its process's slot, and its COMMIT makes the signature stand: when
-- the answer to a COMMIT is lost, a signature that stands already tells that it took effect. No
-- row then comes back. Whoever signs waits for a transaction that signed in this slot before.
-- name: sign_unit
insert into committed as c (process, slot, unit) values (%(process)s, %(slot)s, %(unit)s)
on conflict (process, slot) do update set unit = excluded.unit, at = now()
where c.unit <> excluded.unit
returning true;

-- Asked before a path is set, so it says whose function it calls.
-- name: vector_schema
select pg_catalog.quote_ident(n.nspname::text)
from pg_extension as e join pg_namespace as n on n.oid = e.extnamespace
where e.extname = 'vector';
