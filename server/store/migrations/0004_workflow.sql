-- Workflows: charts, instances, their history, tasks and timers.
--
-- Every key starts with the namespace and then the instance, so that the tables can be
-- distributed together. Ids compare by bytes (COLLATE "C"): all transactions lock instances
-- in this one order.

CREATE TABLE waymark.workflow_chart (
    namespace_id integer NOT NULL,
    chart_id text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    digest bytea NOT NULL,
    definition bytea NOT NULL, -- waymark.workflow.v1.Chart
    create_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace_id, chart_id, version)
);

-- The row that every event moves. No secondary index, so that updates stay HOT.
CREATE TABLE waymark.workflow_instance (
    namespace_id integer NOT NULL,
    instance_id text COLLATE "C" NOT NULL,
    chart_id text COLLATE "C" NOT NULL,
    chart_version bigint NOT NULL,
    revision bigint NOT NULL,
    status smallint NOT NULL, -- waymark.workflow.v1.InstanceStatus
    configuration text[] NOT NULL, -- the innermost active states
    data jsonb NOT NULL,
    memory bytea, -- waymark.workflow.v1.InstanceMemory, null when empty
    entity_id text COLLATE "C",
    start_key bytea NOT NULL, -- digest of the request that started it
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    end_time timestamptz,
    PRIMARY KEY (namespace_id, instance_id)
) WITH (fillfactor = 70);

-- One row per event taken, never changed.
CREATE TABLE waymark.workflow_history (
    namespace_id integer NOT NULL,
    instance_id text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    kind smallint NOT NULL, -- waymark.workflow.v1.HistoryKind
    handled boolean NOT NULL,
    create_time timestamptz NOT NULL,
    event_time timestamptz,
    event text NOT NULL,
    data jsonb,
    from_configuration text[] NOT NULL,
    to_configuration text[] NOT NULL,
    started_tasks text[],
    logs jsonb,
    request_id text COLLATE "C",
    failure text,
    PRIMARY KEY (namespace_id, instance_id, revision)
);

CREATE UNIQUE INDEX workflow_history_request
    ON waymark.workflow_history (namespace_id, instance_id, request_id)
    WHERE request_id IS NOT NULL AND kind = 2; -- SendEvent

-- A task waits or is leased until available_at; it is deleted when it is over. `lease` is its
-- fencing number and rises with every lease, failure and release.
CREATE TABLE waymark.workflow_task (
    namespace_id integer NOT NULL,
    instance_id text COLLATE "C" NOT NULL,
    task_id uuid NOT NULL,
    queue text COLLATE "C" NOT NULL,
    available_at timestamptz NOT NULL,
    attempt integer NOT NULL, -- attempts begun
    lease bigint NOT NULL,
    lease_ms bigint NOT NULL,
    name text NOT NULL,
    record bytea NOT NULL, -- waymark.workflow.v1.TaskRecord
    PRIMARY KEY (namespace_id, instance_id, task_id)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

CREATE INDEX workflow_task_queue ON waymark.workflow_task (namespace_id, queue, available_at);

-- A timer is deleted by whoever applies it.
CREATE TABLE waymark.workflow_timer (
    namespace_id integer NOT NULL,
    instance_id text COLLATE "C" NOT NULL,
    timer_id text COLLATE "C" NOT NULL,
    fire_at timestamptz NOT NULL,
    event text NOT NULL, -- empty: the task in `data` is out of time
    data jsonb,
    PRIMARY KEY (namespace_id, instance_id, timer_id)
) WITH (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000);

CREATE INDEX workflow_timer_due ON waymark.workflow_timer (fire_at);

-- Which running instances take an entity's fence events.
CREATE TABLE waymark.workflow_binding (
    namespace_id integer NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    instance_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (namespace_id, entity_id, instance_id)
);
