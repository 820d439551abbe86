-- Shape: every part of recall's schema, as the statement that makes it again when it is lost.
--
-- Not a second definition: migrations and `create_profile` make the schema, `parts` (sql/schema/parts.sql)
-- reads it from the catalogue, and a test holds this list and a fresh database together, in this
-- order. A migration that changes a part changes its line here; the test shows which. `{profile}`
-- stands for the number of each profile.

create role recall_service nologin noinherit nobypassrls;
alter role recall_service nosuperuser nobypassrls;
grant recall_service to current_user;
create sequence recall.chunk_id;
create sequence recall.job_token;
create table recall.api_key ();
create table recall.chunk (profile_id smallint) partition by LIST (profile_id);
create table recall.committed ();
create table recall.corpus_count ();
create table recall.embedding (profile_id smallint) partition by LIST (profile_id);
create table recall.job ();
create table recall.memory ();
create table recall.profile ();
create table recall.session ();
create table recall.source ();
create table recall.tenant ();
create table recall.word_count ();
alter table recall.api_key add column if not exists id integer;
alter table recall.api_key add column if not exists tenant_id integer;
alter table recall.api_key add column if not exists name text;
alter table recall.api_key add column if not exists digest bytea;
alter table recall.api_key add column if not exists created_at timestamp with time zone;
alter table recall.api_key add column if not exists revoked_at timestamp with time zone;
alter table recall.chunk add column if not exists id bigint;
alter table recall.chunk add column if not exists profile_id smallint;
alter table recall.chunk add column if not exists tenant_id integer;
alter table recall.chunk add column if not exists memory_id bigint;
alter table recall.chunk add column if not exists piece integer;
alter table recall.chunk add column if not exists kind text;
alter table recall.chunk add column if not exists thread bigint;
alter table recall.chunk add column if not exists role text;
alter table recall.chunk add column if not exists author text;
alter table recall.chunk add column if not exists user_id text;
alter table recall.chunk add column if not exists created_at timestamp with time zone;
alter table recall.chunk add column if not exists starts integer;
alter table recall.chunk add column if not exists ends integer;
alter table recall.chunk add column if not exists length integer;
alter table recall.chunk add column if not exists digest bigint;
alter table recall.chunk add column if not exists words tsvector;
alter table recall.committed add column if not exists process uuid;
alter table recall.committed add column if not exists slot integer;
alter table recall.committed add column if not exists unit uuid;
alter table recall.committed add column if not exists at timestamp with time zone;
alter table recall.corpus_count add column if not exists profile_id smallint;
alter table recall.corpus_count add column if not exists tenant_id integer;
alter table recall.corpus_count add column if not exists chunks bigint;
alter table recall.corpus_count add column if not exists length bigint;
alter table recall.embedding add column if not exists chunk_id bigint;
alter table recall.embedding add column if not exists profile_id smallint;
alter table recall.embedding add column if not exists tenant_id integer;
alter table recall.embedding add column if not exists meaning halfvec;
alter table recall.job add column if not exists memory_id bigint;
alter table recall.job add column if not exists tenant_id integer;
alter table recall.job add column if not exists lane smallint;
alter table recall.job add column if not exists due_at timestamp with time zone;
alter table recall.job add column if not exists queued_at timestamp with time zone;
alter table recall.job add column if not exists attempts smallint;
alter table recall.job add column if not exists token bigint;
alter table recall.job add column if not exists parked_at timestamp with time zone;
alter table recall.job add column if not exists error text;
alter table recall.job add column if not exists together integer;
alter table recall.job add column if not exists alone smallint;
alter table recall.memory add column if not exists id bigint;
alter table recall.memory add column if not exists tenant_id integer;
alter table recall.memory add column if not exists kind text;
alter table recall.memory add column if not exists session_id bigint;
alter table recall.memory add column if not exists source_id integer;
alter table recall.memory add column if not exists key text;
alter table recall.memory add column if not exists role text;
alter table recall.memory add column if not exists author text;
alter table recall.memory add column if not exists user_id text;
alter table recall.memory add column if not exists title text;
alter table recall.memory add column if not exists category text;
alter table recall.memory add column if not exists content text;
alter table recall.memory add column if not exists metadata jsonb;
alter table recall.memory add column if not exists created_at timestamp with time zone;
alter table recall.memory add column if not exists updated_at timestamp with time zone;
alter table recall.profile add column if not exists id smallint;
alter table recall.profile add column if not exists model text;
alter table recall.profile add column if not exists revision text;
alter table recall.profile add column if not exists dimension integer;
alter table recall.profile add column if not exists recipe text;
alter table recall.profile add column if not exists active boolean;
alter table recall.profile add column if not exists created_at timestamp with time zone;
alter table recall.session add column if not exists id bigint;
alter table recall.session add column if not exists tenant_id integer;
alter table recall.session add column if not exists key text;
alter table recall.session add column if not exists title text;
alter table recall.session add column if not exists created_at timestamp with time zone;
alter table recall.session add column if not exists last_at timestamp with time zone;
alter table recall.source add column if not exists id integer;
alter table recall.source add column if not exists tenant_id integer;
alter table recall.source add column if not exists name text;
alter table recall.source add column if not exists "position" jsonb;
alter table recall.source add column if not exists updated_at timestamp with time zone;
alter table recall.source add column if not exists followed jsonb;
alter table recall.source add column if not exists follower text;
alter table recall.source add column if not exists followed_until timestamp with time zone;
alter table recall.tenant add column if not exists id integer;
alter table recall.tenant add column if not exists name text;
alter table recall.tenant add column if not exists language text;
alter table recall.tenant add column if not exists created_at timestamp with time zone;
alter table recall.word_count add column if not exists profile_id smallint;
alter table recall.word_count add column if not exists tenant_id integer;
alter table recall.word_count add column if not exists word text;
alter table recall.word_count add column if not exists chunks bigint;
alter table recall.api_key alter column created_at set not null, alter column digest set not null, alter column id set not null, alter column name set not null, alter column tenant_id set not null;
alter table recall.chunk alter column created_at set not null, alter column digest set not null, alter column ends set not null, alter column id set not null, alter column kind set not null, alter column length set not null, alter column memory_id set not null, alter column piece set not null, alter column profile_id set not null, alter column starts set not null, alter column tenant_id set not null, alter column thread set not null, alter column words set not null;
alter table recall.committed alter column at set not null, alter column process set not null, alter column slot set not null, alter column unit set not null;
alter table recall.corpus_count alter column chunks set not null, alter column length set not null, alter column profile_id set not null, alter column tenant_id set not null;
alter table recall.embedding alter column chunk_id set not null, alter column meaning set not null, alter column profile_id set not null, alter column tenant_id set not null;
alter table recall.job alter column alone set not null, alter column attempts set not null, alter column due_at set not null, alter column lane set not null, alter column memory_id set not null, alter column queued_at set not null, alter column tenant_id set not null, alter column token set not null;
alter table recall.memory alter column content set not null, alter column created_at set not null, alter column id set not null, alter column kind set not null, alter column metadata set not null, alter column tenant_id set not null, alter column updated_at set not null;
alter table recall.profile alter column active set not null, alter column created_at set not null, alter column dimension set not null, alter column id set not null, alter column model set not null, alter column recipe set not null, alter column revision set not null;
alter table recall.session alter column created_at set not null, alter column id set not null, alter column key set not null, alter column last_at set not null, alter column tenant_id set not null;
alter table recall.source alter column id set not null, alter column name set not null, alter column tenant_id set not null, alter column updated_at set not null;
alter table recall.tenant alter column created_at set not null, alter column id set not null, alter column language set not null, alter column name set not null;
alter table recall.word_count alter column chunks set not null, alter column profile_id set not null, alter column tenant_id set not null, alter column word set not null;
alter table recall.api_key alter column id add generated by default as identity;
alter table recall.memory alter column id add generated by default as identity;
alter table recall.profile alter column id add generated by default as identity;
alter table recall.session alter column id add generated by default as identity;
alter table recall.source alter column id add generated by default as identity;
alter table recall.tenant alter column id add generated by default as identity;
alter table recall.api_key alter column created_at set default now();
alter table recall.committed alter column at set default now();
alter table recall.job alter column alone set default 0, alter column attempts set default 0, alter column due_at set default '1970-01-01 00:00:00+00'::timestamp with time zone, alter column lane set default 0, alter column queued_at set default now(), alter column token set default 0;
alter table recall.memory alter column metadata set default '{}'::jsonb, alter column updated_at set default now();
alter table recall.profile alter column active set default false, alter column created_at set default now();
alter table recall.session alter column created_at set default now();
alter table recall.source alter column updated_at set default now();
alter table recall.tenant alter column created_at set default now(), alter column language set default 'english'::text;
CREATE OR REPLACE FUNCTION recall.count_words()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'recall', 'pg_temp'
AS $function$
declare
  sign integer := case tg_op when 'INSERT' then 1 else -1 end;
begin
  insert into word_count (profile_id, tenant_id, word, chunks)
  select c.profile_id, c.tenant_id, w.lexeme, sign * count(*)
  from changed as c cross join lateral unnest(c.words) as w
  group by 1, 2, 3;
  insert into corpus_count (profile_id, tenant_id, chunks, length)
  select c.profile_id, c.tenant_id, sign * count(*), sign * sum(c.length)
  from changed as c
  group by 1, 2;
  if tg_op = 'DELETE' then
    delete from embedding as e using changed as c
    where e.profile_id = c.profile_id and e.chunk_id = c.id;
  end if;
  return null;
end $function$;
CREATE OR REPLACE FUNCTION recall.current_tenant()
 RETURNS integer
 LANGUAGE sql
 STABLE PARALLEL SAFE
AS $function$ select nullif(current_setting('recall.tenant', true), '')::integer $function$;
CREATE OR REPLACE FUNCTION recall.source_changed()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  perform pg_notify('recall_source', '');
  return null;
exception when others then
  return null;
end $function$;
create table recall.chunk_{profile} (like recall.chunk);
create table recall.embedding_{profile} (like recall.embedding);
alter table recall.chunk_{profile} set (toast_tuple_target=8160);
alter table recall.embedding_{profile} alter column meaning set storage plain;
alter table recall.chunk attach partition recall.chunk_{profile} FOR VALUES IN ('{profile}');
alter table recall.embedding attach partition recall.embedding_{profile} FOR VALUES IN ('{profile}');
alter table recall.api_key add constraint api_key_pkey PRIMARY KEY (id);
alter table recall.chunk_{profile} add constraint chunk_{profile}_pkey PRIMARY KEY (id);
alter table recall.committed add constraint committed_pkey PRIMARY KEY (process, slot);
alter table recall.embedding_{profile} add constraint embedding_{profile}_pkey PRIMARY KEY (chunk_id);
alter table recall.job add constraint job_pkey PRIMARY KEY (memory_id);
alter table recall.memory add constraint memory_pkey PRIMARY KEY (id);
alter table recall.profile add constraint profile_pkey PRIMARY KEY (id);
alter table recall.session add constraint session_pkey PRIMARY KEY (id);
alter table recall.source add constraint source_pkey PRIMARY KEY (id);
alter table recall.tenant add constraint tenant_pkey PRIMARY KEY (id);
alter table recall.api_key add constraint api_key_digest_key UNIQUE (digest);
alter table recall.memory add constraint memory_tenant_id_key_key UNIQUE (tenant_id, key);
alter table recall.profile add constraint profile_model_revision_recipe_key UNIQUE (model, revision, recipe);
alter table recall.session add constraint session_tenant_id_key_key UNIQUE (tenant_id, key);
alter table recall.source add constraint source_tenant_id_name_key UNIQUE (tenant_id, name);
alter table recall.tenant add constraint tenant_name_key UNIQUE (name);
alter table recall.memory add constraint memory_check CHECK (((kind = 'message'::text) = (session_id IS NOT NULL)));
alter table recall.memory add constraint memory_check1 CHECK (((kind = 'message'::text) = (role IS NOT NULL)));
alter table recall.memory add constraint memory_has_a_time_that_clients_can_read CHECK (((created_at >= '0002-01-01 00:00:00+00'::timestamp with time zone) AND (created_at < '9999-01-01 00:00:00+00'::timestamp with time zone))) NOT VALID;
alter table recall.memory add constraint memory_kind_check CHECK ((kind = ANY (ARRAY['message'::text, 'note'::text])));
alter table recall.profile add constraint profile_dimension_check CHECK (((dimension >= 1) AND (dimension <= 4000)));
alter table recall.tenant add constraint tenant_name_check CHECK (((char_length(name) >= 1) AND (char_length(name) <= 255)));
alter table recall.api_key add constraint api_key_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES recall.tenant(id) ON DELETE CASCADE;
alter table recall.chunk add constraint chunk_memory_id_fkey FOREIGN KEY (memory_id) REFERENCES recall.memory(id) ON DELETE CASCADE;
alter table recall.job add constraint job_memory_id_fkey FOREIGN KEY (memory_id) REFERENCES recall.memory(id) ON DELETE CASCADE;
alter table recall.memory add constraint memory_session_id_fkey FOREIGN KEY (session_id) REFERENCES recall.session(id) ON DELETE CASCADE;
alter table recall.memory add constraint memory_source_id_fkey FOREIGN KEY (source_id) REFERENCES recall.source(id);
alter table recall.memory add constraint memory_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES recall.tenant(id) ON DELETE CASCADE;
alter table recall.session add constraint session_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES recall.tenant(id) ON DELETE CASCADE;
alter table recall.source add constraint source_tenant_id_fkey FOREIGN KEY (tenant_id) REFERENCES recall.tenant(id) ON DELETE CASCADE;
CREATE UNIQUE INDEX chunk_{profile}_memory_id_piece_idx ON recall.chunk_{profile} USING btree (memory_id, piece);
CREATE INDEX chunk_{profile}_tenant_id_created_at_idx ON recall.chunk_{profile} USING btree (tenant_id, created_at);
CREATE INDEX chunk_{profile}_tenant_id_user_id_created_at_idx ON recall.chunk_{profile} USING btree (tenant_id, user_id, created_at);
CREATE INDEX chunk_{profile}_thread_created_at_memory_id_piece_idx ON recall.chunk_{profile} USING btree (thread, created_at, memory_id, piece);
CREATE INDEX chunk_{profile}_words_idx ON recall.chunk_{profile} USING gin (words) WITH (fastupdate='on', gin_pending_list_limit='512');
CREATE INDEX corpus_count_by_tenant ON recall.corpus_count USING btree (tenant_id, profile_id);
CREATE INDEX job_by_tenant ON recall.job USING btree (tenant_id) WHERE (parked_at IS NULL);
CREATE INDEX job_deadly ON recall.job USING btree (due_at) WHERE ((parked_at IS NULL) AND (alone >= 5));
CREATE INDEX job_due ON recall.job USING btree (lane, ((together IS NOT NULL)), memory_id) INCLUDE (due_at, together) WHERE (parked_at IS NULL);
CREATE INDEX job_parked ON recall.job USING btree (tenant_id, memory_id) WHERE (parked_at IS NOT NULL);
CREATE INDEX memory_by_metadata ON recall.memory USING gin (metadata jsonb_path_ops) WHERE (metadata <> '{}'::jsonb);
CREATE INDEX memory_by_session ON recall.memory USING btree (session_id, created_at, id);
CREATE INDEX memory_by_source ON recall.memory USING btree (source_id, id) WHERE (source_id IS NOT NULL);
CREATE INDEX memory_by_user ON recall.memory USING btree (tenant_id, user_id) WHERE (user_id IS NOT NULL);
CREATE UNIQUE INDEX one_active_profile ON recall.profile USING btree (active) WHERE active;
CREATE INDEX session_by_time ON recall.session USING btree (tenant_id, last_at DESC, id DESC);
CREATE INDEX word_count_by_tenant ON recall.word_count USING btree (tenant_id);
CREATE INDEX word_count_by_word ON recall.word_count USING btree (profile_id, word) INCLUDE (chunks);
CREATE OR REPLACE TRIGGER count_deleted AFTER DELETE ON recall.chunk REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION recall.count_words();
CREATE OR REPLACE TRIGGER count_inserted AFTER INSERT ON recall.chunk REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION recall.count_words();
alter table recall.api_key enable row level security;
alter table recall.chunk enable row level security;
alter table recall.corpus_count enable row level security;
alter table recall.embedding enable row level security;
alter table recall.job enable row level security;
alter table recall.memory enable row level security;
alter table recall.session enable row level security;
alter table recall.source enable row level security;
alter table recall.tenant enable row level security;
alter table recall.word_count enable row level security;
create policy own_rows on recall.chunk to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_rows on recall.corpus_count to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_rows on recall.embedding to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_rows on recall.job to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_rows on recall.memory to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_rows on recall.session to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_rows on recall.source to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
create policy own_row on recall.tenant to recall_service using (id = recall.current_tenant());
create policy own_rows on recall.word_count to recall_service using (tenant_id = recall.current_tenant()) with check (tenant_id = recall.current_tenant());
grant usage on schema recall to recall_service;
grant delete on table recall.chunk to recall_service;
grant insert on table recall.chunk to recall_service;
grant select on table recall.chunk to recall_service;
grant usage on sequence recall.chunk_id to recall_service;
grant insert on table recall.committed to recall_service;
grant select on table recall.committed to recall_service;
grant update on table recall.committed to recall_service;
grant delete on table recall.corpus_count to recall_service;
grant insert on table recall.corpus_count to recall_service;
grant select on table recall.corpus_count to recall_service;
grant delete on table recall.embedding to recall_service;
grant insert on table recall.embedding to recall_service;
grant select on table recall.embedding to recall_service;
grant delete on table recall.job to recall_service;
grant insert on table recall.job to recall_service;
grant select on table recall.job to recall_service;
grant update on table recall.job to recall_service;
grant usage on sequence recall.job_token to recall_service;
grant delete on table recall.memory to recall_service;
grant insert on table recall.memory to recall_service;
grant select on table recall.memory to recall_service;
grant update on table recall.memory to recall_service;
grant usage on sequence recall.memory_id_seq to recall_service;
grant select on table recall.profile to recall_service;
grant delete on table recall.session to recall_service;
grant insert on table recall.session to recall_service;
grant select on table recall.session to recall_service;
grant update on table recall.session to recall_service;
grant usage on sequence recall.session_id_seq to recall_service;
grant delete on table recall.source to recall_service;
grant insert on table recall.source to recall_service;
grant select on table recall.source to recall_service;
grant update on table recall.source to recall_service;
grant usage on sequence recall.source_id_seq to recall_service;
grant select on table recall.tenant to recall_service;
grant delete on table recall.word_count to recall_service;
grant insert on table recall.word_count to recall_service;
grant select on table recall.word_count to recall_service;
revoke execute on function recall.count_words() from public;
revoke execute on function recall.current_tenant() from public;
grant execute on function recall.current_tenant() to recall_service;
