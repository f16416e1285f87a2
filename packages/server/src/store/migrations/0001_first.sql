-- Teams and who may act for them.
create table teams (
  team_id text primary key,
  name text not null unique,
  created_at timestamptz not null
);

create table api_keys (
  key_id text primary key,
  team_id text not null references teams,
  name text not null,
  -- SHA-256 of the key's 40 hex digits; the key itself is nowhere.
  hash text not null unique,
  mask text not null,
  created_at timestamptz not null,
  last_used_at timestamptz
);
create index api_keys_of_team on api_keys (team_id, created_at);

-- What sandboxes are made from. One without a team comes built, and every team sees it.
create table templates (
  template_id text primary key,
  team_id text references teams,
  name text not null,
  created_at timestamptz not null,
  updated_at timestamptz not null
);
create unique index templates_by_name on templates (coalesce(team_id, ''), name);

create table builds (
  build_id text primary key,
  template_id text not null references templates,
  cpu_count integer not null,
  memory_mb integer not null,
  disk_size_mb integer not null,
  envd_version text not null,
  created_at timestamptz not null
);
create index builds_of_template on builds (template_id, created_at desc);

create table workers (
  worker_id text primary key,
  hostname text not null,
  boot_id text not null,
  engine text not null,
  version text not null,
  total_mb integer not null,
  reserved_mb integer not null,
  last_seen timestamptz not null
);

create table sandboxes (
  sandbox_id text primary key,
  team_id text not null references teams,
  template_id text not null references templates,
  alias text,
  build_id text not null references builds,
  state text not null check (state in
    ('creating', 'running', 'pausing', 'paused', 'resuming', 'killing', 'stopping', 'killed', 'stopped')),
  -- Counts the orders: each is one higher than the one before.
  generation integer not null check (generation >= 1),
  -- Generation of the order that made the present machine: a report about an older one is late.
  machine_generation integer not null,
  worker_id text not null,
  boot_id text not null,
  machine_id text,
  address text,
  snapshot_id text,
  created_at timestamptz not null,
  started_at timestamptz,
  moved_at timestamptz not null,
  transition_deadline timestamptz,
  end_at timestamptz,
  timeout_seconds integer not null check (timeout_seconds >= 0),
  cpu_count integer not null,
  memory_mb integer not null,
  disk_size_mb integer not null,
  metadata jsonb not null,
  envd_version text not null,
  event_count integer not null default 0,
  placements text[] not null,
  failure jsonb,
  end_reason text,
  ended_at timestamptz,
  resume_at_start boolean not null default false,
  remaining_ms bigint,
  -- A transition has a deadline and nothing else has; what has ended says when and why.
  check ((transition_deadline is not null) = (state in ('creating', 'pausing', 'resuming', 'killing', 'stopping'))),
  check ((end_reason is not null) = (state in ('killing', 'stopping', 'killed', 'stopped'))),
  check ((ended_at is not null) = (end_reason is not null)),
  check (state <> 'running' or address is not null),
  check (state <> 'paused' or snapshot_id is not null)
);
create index sandboxes_of_team on sandboxes (team_id, created_at desc, sandbox_id desc);
create index live_sandboxes_of_team on sandboxes (team_id, created_at desc, sandbox_id desc)
  where state in ('creating', 'running', 'pausing', 'paused', 'resuming');
create index sandboxes_by_metadata on sandboxes using gin (metadata jsonb_path_ops);
create index sandboxes_of_template on sandboxes (template_id, created_at);
create index sandboxes_by_end on sandboxes (end_at) where state = 'running';
create index sandboxes_in_transition on sandboxes (transition_deadline) where transition_deadline is not null;
create index sandboxes_on_worker on sandboxes (worker_id)
  where state in ('creating', 'running', 'pausing', 'resuming');
create index sandboxes_to_wake on sandboxes (sandbox_id) where resume_at_start;

create table snapshots (
  snapshot_id text primary key,
  sandbox_id text not null references sandboxes,
  team_id text not null references teams,
  build_id text not null references builds,
  worker_id text not null,
  bytes bigint not null,
  created_at timestamptz not null
);
create index snapshots_of_sandbox on snapshots (sandbox_id);

-- Lifecycle events, kept for ever unless told otherwise: a month is dropped as a whole. What no month has takes the
-- default partition, so that a move never fails for want of one.
create table events (
  sandbox_id text not null,
  team_id text not null,
  sequence integer not null,
  at timestamptz not null,
  name text not null,
  line text not null,
  primary key (sandbox_id, sequence, at)
) partition by range (at);
create table events_default partition of events default;

-- The outbox: an order is written with the move that it serves, and sent until it is settled.
create table orders (
  operation_id text primary key,
  sandbox_id text not null references sandboxes,
  generation integer not null,
  worker_id text not null,
  verb text not null check (verb in ('create', 'pause', 'resume', 'release', 'kill', 'deadline')),
  args jsonb not null,
  attempts integer not null,
  next_at timestamptz not null,
  created_at timestamptz not null,
  settled_at timestamptz,
  unique (sandbox_id, generation)
);
create index orders_due on orders (next_at) where settled_at is null;
create index orders_unsettled on orders (sandbox_id) where settled_at is null;

-- A create that is repeated with the same key gets the same sandbox.
create table idempotency_keys (
  team_id text not null references teams,
  key text not null,
  body_hash text not null,
  sandbox_id text not null,
  expires_at timestamptz not null,
  primary key (team_id, key)
);
create index idempotency_keys_by_expiry on idempotency_keys (expires_at);
