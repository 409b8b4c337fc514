-- Geo: entities, their fixes, fences and what crossed them.
--
-- Every key starts with the namespace and then the entity, so that the tables can be
-- distributed together. Ids compare by bytes (COLLATE "C"): all transactions lock entities in
-- this one order, and before any workflow instance.

CREATE EXTENSION IF NOT EXISTS postgis WITH SCHEMA public;

-- The newest fix of each entity and the fences it is in. Every position updates its row, so
-- there is no secondary index and there is room on each page: updates stay HOT.
CREATE TABLE waymark.entity (
    namespace_id integer NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    fix_time timestamptz, -- null only inside the transaction that makes the row
    lon_deg double precision,
    lat_deg double precision,
    alt_m double precision,
    speed_mps double precision,
    heading_deg double precision,
    fence_keys bigint[] NOT NULL DEFAULT '{}', -- sorted; may name fences deleted since
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace_id, entity_id)
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.05);

-- Every fix, append-only. The key makes a repeated fix a conflict that is left alone;
-- recorded_at beside the event's own time says what was known when.
CREATE TABLE waymark.position (
    namespace_id integer NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    lon_deg double precision NOT NULL,
    lat_deg double precision NOT NULL,
    alt_m double precision,
    speed_mps double precision,
    heading_deg double precision,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace_id, entity_id, time)
) PARTITION BY RANGE (time);

CREATE INDEX position_time ON waymark.position USING brin (time);

-- Makes the partition of the month that `event_time` is in, in UTC. The server calls it in a
-- transaction of its own before it writes the first fix of a month. Attaching takes a lock that
-- lets inserts into other months go on. Runs with the owner's rights, so that the server's role
-- needs none to create tables.
CREATE FUNCTION waymark.ensure_position_partition(event_time timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET client_min_messages = warning
AS $$
DECLARE
    month_start constant timestamptz := date_trunc('month', event_time);
    part_name constant text := 'position_' || to_char(month_start, 'YYYYMM');
BEGIN
    IF event_time < '1970-01-01T00:00:00Z' OR event_time > now() + interval '1 month' THEN
        RAISE EXCEPTION 'no partition for fixes of %', event_time
            USING ERRCODE = 'datetime_field_overflow';
    END IF;
    PERFORM pg_advisory_xact_lock(8029461, 3);
    -- A query sees what was committed while it waited; to_regclass() may not, as it asks a cache.
    IF EXISTS (SELECT FROM pg_class WHERE relname = part_name
               AND relnamespace = 'waymark'::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE waymark.%I (LIKE waymark.position INCLUDING ALL)', part_name);
    EXECUTE format('ALTER TABLE waymark.position ATTACH PARTITION waymark.%I '
                   'FOR VALUES FROM (%L) TO (%L)', part_name, month_start,
                   month_start + interval '1 month');
END
$$;

-- Counts the changes of a namespace's fences. A fence writer updates the row first, so writers
-- of one namespace go one after another and revisions commit in order.
CREATE TABLE waymark.fence_revision (
    namespace_id integer PRIMARY KEY,
    revision bigint NOT NULL
) WITH (fillfactor = 50);

-- Fences, and the traces of deleted ones: a server that knows an older revision asks for what
-- changed since, and must learn of deletions too. A fence made again under the id of a deleted
-- one has a new key.
CREATE TABLE waymark.fence (
    namespace_id integer NOT NULL,
    fence_key bigint GENERATED ALWAYS AS IDENTITY,
    fence_id text COLLATE "C" NOT NULL,
    display_name text NOT NULL,
    revision bigint NOT NULL, -- of its last change
    wkb bytea, -- null when deleted; what servers read, without PostGIS on their way
    shape public.geometry(Geometry, 4326)
        GENERATED ALWAYS AS (public.ST_GeomFromWKB(wkb, 4326)) STORED,
    create_time timestamptz NOT NULL DEFAULT now(),
    update_time timestamptz NOT NULL DEFAULT now(),
    delete_time timestamptz,
    PRIMARY KEY (namespace_id, fence_key)
);

CREATE UNIQUE INDEX fence_id ON waymark.fence (namespace_id, fence_id) WHERE delete_time IS NULL;
CREATE INDEX fence_revision_order ON waymark.fence (namespace_id, revision);

-- Crossings, append-only. The key is what makes a crossing one event.
CREATE TABLE waymark.fence_event (
    namespace_id integer NOT NULL,
    entity_id text COLLATE "C" NOT NULL,
    time timestamptz NOT NULL,
    fence_key bigint NOT NULL,
    kind smallint NOT NULL, -- waymark.geo.v1.CrossingKind
    event_id uuid NOT NULL,
    fence_id text COLLATE "C" NOT NULL,
    lon_deg double precision NOT NULL,
    lat_deg double precision NOT NULL,
    first_fix boolean NOT NULL,
    record_time timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (namespace_id, entity_id, time, fence_key, kind)
);

CREATE INDEX fence_event_time ON waymark.fence_event (namespace_id, time, event_id);
CREATE INDEX fence_event_fence ON waymark.fence_event (namespace_id, fence_id, time, event_id);
