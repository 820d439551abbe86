-- Forgetting: memories with all that is derived from them, and the sessions that this empties.
--
-- Jobs go with their memories by cascade. Chunks go first, in one statement of their own: their
-- counts and vectors follow them set-wise, which the row-by-row cascade from `memory` would not do.
--
-- Sessions are locked before anything is looked at. Whoever stores a message locks its session too:
-- a message of a moment ago is seen, and one of a moment later finds the session gone and makes it
-- anew. Without the lock a session could be taken for empty while its next message commits, and its
-- cascade would take that message along.
--
-- Of the fields of a selection those that are null select nothing and cost nothing: a statement is
-- planned with its values.

-- name: hold_sessions
select s.id
from session as s
where s.tenant_id = current_tenant()
  and (s.key = %(session)s::text
       or s.id = any(array(
         select m.session_id from memory as m
         where m.tenant_id = current_tenant() and m.session_id is not null
           and %(session)s::text is null
           and (%(ids)s::bigint[] is null or m.id = any(%(ids)s))
           and (%(kind)s::text is null or m.kind = %(kind)s)
           and (%(user)s::text is null or m.user_id = %(user)s)
           and (%(source)s::integer is null or m.source_id = %(source)s)
           and (%(keys)s::text[] is null or m.key = any(%(keys)s)))))
order by s.key
for update;

-- name: hold_memories
select m.id
from memory as m
where m.tenant_id = current_tenant()
  and (%(session)s::text is null or m.session_id = (
         select s.id from session as s
         where s.tenant_id = current_tenant() and s.key = %(session)s))
  and (%(ids)s::bigint[] is null or m.id = any(%(ids)s))
  and (%(kind)s::text is null or m.kind = %(kind)s)
  and (%(user)s::text is null or m.user_id = %(user)s)
  and (%(source)s::integer is null or m.source_id = %(source)s)
  and (%(keys)s::text[] is null or m.key = any(%(keys)s))
order by m.id
for update;

-- name: erase_chunks
delete from chunk where memory_id = any(%s) and tenant_id = current_tenant();

-- name: erase_memories
delete from memory where id = any(%s) and tenant_id = current_tenant();

-- name: erase_empty_sessions
delete from session as s
where s.tenant_id = current_tenant() and s.id = any(%s)
  and not exists (select from memory as m where m.session_id = s.id)
returning s.id;
