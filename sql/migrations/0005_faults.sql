-- Nothing done twice, nobody blamed for another.

-- The last unit of work that each slot of each process committed (`sql/unit.sql`). Rows of
-- processes that are no more are swept a day later.
create table committed (
  process uuid not null,
  slot integer not null,
  unit uuid not null,
  at timestamptz not null default now(),
  primary key (process, slot)
);
grant select, insert, update on committed to recall_service;

-- `attempts` counts failures of the memory itself. A claim that nobody ended (its worker died, or
-- was cut off) counts against no memory: `together` says how many were claimed with it, and the
-- next claim takes half as many, until the one that ends its workers is alone. `alone` counts how
-- often it ended a worker then.
alter table job add column together integer;
alter table job add column alone smallint not null default 0;

-- Due since ever, whatever clock says what now is.
alter table job alter column due_at set default 'epoch';
update job set due_at = 'epoch' where due_at <= now() and parked_at is null;

drop index job_due;
drop index job_exhausted;
create index job_due on job (lane, (together is not null), memory_id) include (due_at, together)
  where parked_at is null;
create index job_deadly on job (due_at) where parked_at is null and alone >= 5;
create index job_parked on job (tenant_id, memory_id) where parked_at is not null;
