-- Search: a question's evidence in one statement, then the winners' rows with their neighbours.
--
-- Evidence is narrow (ids, similarities, word weights); contents are read for the hits alone, from
-- `memory` under its policy.

-- name: gather
select * from evidence(
  %(profile)s::smallint, %(meaning)s, %(tokens)s::text[], %(hints)s::text[],
  %(demanded)s::text[], %(excluded)s::text[], %(scope)s::jsonb, %(pool)s::integer,
  %(texts)s::integer, %(around)s::integer);

-- name: hits
select m.id, m.key, m.kind, s.key as session_id, coalesce(m.title, s.title) as title, m.role,
       m.author, m.user_id, m.content, m.created_at, m.metadata,
       case when %(before)s > 0 then (
         select jsonb_agg(to_jsonb(n) order by n.created_at, n.id) from (
           select p.id, p.role, p.author, p.content, p.created_at from memory as p
           where p.session_id = m.session_id and (p.created_at, p.id) < (m.created_at, m.id)
           order by p.created_at desc, p.id desc limit %(before)s) as n
       ) end as before,
       case when %(after)s > 0 then (
         select jsonb_agg(to_jsonb(n) order by n.created_at, n.id) from (
           select p.id, p.role, p.author, p.content, p.created_at from memory as p
           where p.session_id = m.session_id and (p.created_at, p.id) > (m.created_at, m.id)
           order by p.created_at, p.id limit %(after)s) as n
       ) end as after
from memory as m
left join session as s on s.id = m.session_id
where m.id = any(%(ids)s::bigint[]) and m.tenant_id = current_tenant();
