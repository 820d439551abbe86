-- What a chunk costs to write.

-- A partition is made for a profile and takes no other's rows, so nothing else has to be checked;
-- the check locked the profile's one row for every chunk, by many at once.
alter table chunk drop constraint chunk_profile_id_fkey;
alter table embedding drop constraint embedding_profile_id_fkey;

-- GIN keeps new rows as a list at first, which halves what a row of a backfill costs there.
-- Questions read the list too, so it stays short, and workers fold it when nothing waits.
do $$
declare
  profile smallint;
begin
  for profile in select id from recall.profile loop
    execute format('alter index chunk_%s_words_idx
                    set (fastupdate = on, gin_pending_list_limit = 512)', profile);
  end loop;
end $$;
