-- Sources that are followed, and a source's memories in order.

-- What `recall follow --register` was told: {"kind", "target", "options", "user", "longest_wait"}.
alter table source add column followed jsonb;

create index memory_by_source on memory (source_id, id) where source_id is not null;
