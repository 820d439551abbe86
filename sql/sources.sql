-- Sources: where backfilled memories came from, and how far their reading is.
--
-- The position is written in the transaction that stores the rows before it, so a backfill that is
-- killed anywhere goes on exactly where its last commit ended.

-- name: ensure_source
insert into source as s (tenant_id, name) values (current_tenant(), %s)
on conflict (tenant_id, name) do update set name = s.name
returning id, position;

-- name: advance_source
update source set position = %s::jsonb, updated_at = now()
where id = %s and tenant_id = current_tenant();
