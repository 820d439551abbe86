-- Scope: which chunks a question may find, as a condition on `c` (chunk) for the legs' statements.
--
-- A condition is text with its literals quoted, and only the filters that were given stand in it:
-- the planner then chooses by their values, as it could not by parameters that may be null.

create or replace function texts(p_array jsonb) returns text[]
language plpgsql immutable parallel safe
as $$
begin
  return array(select jsonb_array_elements_text(p_array));
end $$;

-- The ids of the tenant's sessions with these keys; keys that name none leave no trace.
create or replace function threads(p_keys jsonb) returns bigint[]
language plpgsql stable
as $$
begin
  return array(select s.id from session as s
               where s.tenant_id = current_tenant() and s.key = any(texts(p_keys)));
end $$;

create or replace function scope_condition(p_profile smallint, p_scope jsonb) returns text
language plpgsql stable
as $$
begin
  return concat_ws(' and ',
    format('c.profile_id = %s and c.tenant_id = %s', p_profile, current_tenant()),
    case when p_scope ? 'user_id' then format('c.user_id = %L', p_scope->>'user_id') end,
    case when p_scope ? 'session_ids'
         then format('c.thread = any(%L)', threads(p_scope->'session_ids')) end,
    case when p_scope ? 'exclude_session_ids'
         then format('c.thread <> all(%L)', threads(p_scope->'exclude_session_ids')) end,
    case when p_scope ? 'kinds' then format('c.kind = any(%L)', texts(p_scope->'kinds')) end,
    case when p_scope ? 'roles' then format('c.role = any(%L)', texts(p_scope->'roles')) end,
    case when p_scope ? 'authors' then format('c.author = any(%L)', texts(p_scope->'authors')) end,
    case when p_scope ? 'since' then format('c.created_at >= %L', p_scope->>'since') end,
    case when p_scope ? 'until' then format('c.created_at < %L', p_scope->>'until') end,
    -- An empty object is contained in everything, and the index leaves empty metadata out.
    case when p_scope->'metadata' <> '{}' then format(
      'c.memory_id in (select m.id from memory as m where m.tenant_id = %s
         and m.metadata <> ''{}'' and m.metadata @> %L)', current_tenant(), p_scope->'metadata')
    end);
end $$;

-- How many chunks the planner expects a condition to leave; its estimate costs no scan.
create or replace function estimated_rows(p_condition text) returns bigint
language plpgsql volatile  -- EXPLAIN is refused in any other
as $$
declare
  v_plan json;
begin
  execute 'explain (format json) select from chunk as c where ' || p_condition into v_plan;
  return (v_plan->0->'Plan'->>'Plan Rows')::bigint;
end $$;
