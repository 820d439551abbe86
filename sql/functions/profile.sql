-- Profiles: an embedding model at a revision, with partitions of its own.
--
-- Chunks of a profile lie in partitions of their own, so that another model's can be built beside
-- them, and the old ones dropped at once. A partition's HNSW index is an expression index because
-- the parent's column has no fixed dimension.

-- An HNSW index as `create index` takes it, concurrently or not. Chat has many near twins, among
-- which a sparser graph loses its way: of the ten nearest of 225,000 lines, m = 16 with
-- ef_construction = 64 (pgvector's defaults) finds 93 % where this finds 98 %, at ef_search 200.
-- The same m with ef_construction = 200 finds as much there behind a fifth fewer pages, but among a
-- million lines with small changes 94 % where this finds 97 %, at ef_search 400.
create or replace function hnsw_index(p_profile smallint, p_dimension integer) returns text
language sql immutable
as $$
  select format('embedding_%1$s_hnsw on recall.embedding_%1$s
                 using hnsw ((meaning::halfvec(%2$s)) halfvec_cosine_ops)
                 with (m = 24, ef_construction = 128)', p_profile, p_dimension)
$$;

create or replace function create_profile(
  p_model text, p_revision text, p_dimension integer, p_recipe text, p_active boolean
) returns smallint
language plpgsql
as $$
declare
  made smallint;
begin
  insert into profile (model, revision, dimension, recipe, active)
  values (p_model, p_revision, p_dimension, p_recipe, p_active)
  returning id into made;
  execute format('create table recall.chunk_%s partition of chunk for values in (%s)', made, made);
  -- Words stay in the row, uncompressed: ts_rank unpacks its argument at every call.
  execute format('alter table chunk_%s set (toast_tuple_target = 8160)', made);
  execute format('alter table chunk_%s add primary key (id)', made);
  execute format('create unique index on chunk_%s (memory_id, piece)', made);
  execute format('create index on chunk_%s (thread, created_at, memory_id, piece)', made);
  execute format('create index on chunk_%s (tenant_id, user_id, created_at)', made);
  execute format('create index on chunk_%s (tenant_id, created_at)', made);
  execute format('create index on chunk_%s using gin (words)
                  with (fastupdate = on, gin_pending_list_limit = 512)', made);
  execute format('create table recall.embedding_%s partition of embedding for values in (%s)', made, made);
  execute format('alter table embedding_%s add primary key (chunk_id)', made);
  execute format('alter table embedding_%s alter column meaning set storage plain', made);
  execute 'create index ' || hnsw_index(made, p_dimension);
  return made;
end $$;
