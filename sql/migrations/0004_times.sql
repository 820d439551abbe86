-- Times that every client can read.
--
-- Postgres keeps times that Python cannot say: before year 1, beyond 9999, infinity. And a time is
-- read in the server's zone, where the first day of year 1 may lie before it. One such row in a
-- batch kept all of it from being read. `recall/models.py` refuses these times with a sentence;
-- here they are refused whoever writes.

-- Not validated, which would be one more look at every row: it holds for those that follow, and
-- those that are here already are mended below.
alter table memory add constraint memory_has_a_time_that_clients_can_read
  check (created_at >= timestamptz '0002-01-01 00:00:00+00'
         and created_at < timestamptz '9999-01-01 00:00:00+00') not valid;

-- What is here already moves to the nearest time that can be read, and is indexed again.
with moved as (
  update memory
  set created_at = least(greatest(created_at, '0002-01-01 00:00:00+00'), '9998-12-31 00:00:00+00')
  where not (created_at >= '0002-01-01 00:00:00+00' and created_at < '9999-01-01 00:00:00+00')
  returning id, tenant_id
)
insert into job (memory_id, tenant_id)
select id, tenant_id from moved
on conflict (memory_id) do update
  set token = nextval('job_token'), due_at = now(), attempts = 0, parked_at = null, error = null;

update session
set created_at = least(greatest(created_at, '0002-01-01 00:00:00+00'), '9998-12-31 00:00:00+00'),
    last_at = least(greatest(last_at, '0002-01-01 00:00:00+00'), '9998-12-31 00:00:00+00')
where least(created_at, last_at) < '0002-01-01 00:00:00+00'
   or greatest(created_at, last_at) >= '9999-01-01 00:00:00+00';
