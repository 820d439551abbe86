-- Candidates: what a leg brings, as an array of chunks and one of their scores, best first.
--
-- A leg takes the best chunks first. Copies of one text, or pieces of one long memory, may be so
-- many that too few texts are among them: then it is asked again for texts, a few copies of each.

-- Run a leg's statement, whose $1 is the question's meaning and $2 how many candidates to bring.
create or replace function chosen(
  p_statement text, p_meaning halfvec, p_pool integer, out ids bigint[], out scores float8[]
)
language plpgsql stable
as $$
begin
  execute format('select coalesce(array_agg(b.id), ''{}''), coalesce(array_agg(b.score), ''{}'')
                  from (%s) as b', p_statement)
  into ids, scores using p_meaning, p_pool;
end $$;

create or replace function count_texts(p_ids bigint[]) returns integer
language sql stable
as $$ select count(distinct c.digest)::integer from chunk as c where c.id = any(p_ids) $$;

-- Of candidates, the first few of each text.
create or replace function few_copies(inout ids bigint[], inout scores float8[])
language sql stable
as $$
  select array_agg(r.id order by r.place), array_agg(r.score order by r.place) from (
    select u.id, u.score, u.place,
           row_number() over (partition by c.digest order by u.place) as copy
    from unnest(ids, scores) with ordinality as u(id, score, place)
    join chunk as c on c.id = u.id
  ) as r
  where r.copy <= copies()
$$;
