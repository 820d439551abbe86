-- Weights: the constants of ranking that the database needs, each once and by its name.
--
-- What Python scores by stands in `recall/retrieval/fuse.py`. The one value that both need is proved
-- equal by tests/retrieval/test_weights.py.

-- Weight of meaning against words; MEANING of fuse.py.
create or replace function weight_of_meaning() returns float8
language sql immutable parallel safe
as $$ select 0.7::float8 $$;

-- How much of the first score a chunk's length divides. Not B of fuse.py: that stands inside BM25's
-- saturation, beside K1, and measures a turn with its context against the mean of those found; this
-- divides ts_rank, which is saturated before, and measures one chunk against the mean of all.
-- With 0.75 here, too, answers get a little worse: R@25 of qmsum-dev falls from 20.84 % to 20.65 %.
create or replace function weight_of_length() returns numeric
language sql immutable parallel safe
as $$ select 0.7 $$;

-- ts_rank of a word that stands once, 6 / π²: what a phrase counts that stands in a text.
create or replace function rank_of_one() returns real
language sql immutable parallel safe
as $$ select ts_rank('{1,1,1,1}', tsvector 'a:1', tsquery 'a') $$;

-- Scopes of up to so many chunks are looked at row by row.
create or replace function exact_rows() returns integer
language sql immutable parallel safe
as $$ select 5000 $$;

-- How many rows with a rare word of the question the keyword leg scores.
create or replace function candidate_rows() returns integer
language sql immutable parallel safe
as $$ select 1000 $$;

-- How many candidates are looked around: the best by a first score without context.
create or replace function expanded() returns integer
language sql immutable parallel safe
as $$ select 64 $$;

-- How many copies of one text, or pieces of one memory, a leg takes when it looks for texts.
create or replace function copies() returns integer
language sql immutable parallel safe
as $$ select 8 $$;

-- hnsw.ef_search, the candidates that a walk through the graph keeps: beside the keyword leg, and
-- alone, where nothing else finds what the walk misses.
create or replace function walk_width() returns integer
language sql immutable parallel safe
as $$ select 100 $$;

create or replace function walk_width_alone() returns integer
language sql immutable parallel safe
as $$ select 400 $$;
