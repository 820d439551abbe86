-- Profiles: an embedding model at a revision with its dimension; exactly one is active.

-- name: active_profile
select id, model, revision, dimension, recipe from profile where active;

-- name: lock_profiles
select pg_advisory_xact_lock(hashtext('recall.profiles'));

-- name: first_profile
select create_profile(%s, %s, %s, %s, true)
where not exists (select from profile where active);
