-- Sources that are followed, and a source's memories in order.

-- What `recall follow --register` was told: {"kind", "target", "options", "user", "longest_wait",
-- "trigger"}; and the worker that follows it, for as long as it says so.
alter table source add column followed jsonb;
alter table source add column follower text;
alter table source add column followed_until timestamptz;

create index memory_by_source on memory (source_id, id) where source_id is not null;
