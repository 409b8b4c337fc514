-- What every subject stands on: namespaces, the outbox, and what the store needs to
-- learn the fate of a commit whose answer was lost.
-- The schema waymark and waymark.schema_migration exist already (server/store/migrate.c).

CREATE TABLE waymark.namespace (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE CHECK (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    create_time timestamptz NOT NULL DEFAULT now()
);

-- Crash recovery may hand out again a transaction id that was assigned but whose traces
-- never reached the disk, and pg_xact_status() then tells of the wrong transaction.  So
-- crashes are counted: recovery empties an unlogged table, and the first connection
-- that finds it empty writes down where the ids went on.
CREATE TABLE waymark.boot (
    epoch bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    next_xid xid8 NOT NULL,
    create_time timestamptz NOT NULL DEFAULT now()
);

CREATE UNLOGGED TABLE waymark.boot_current (
    epoch bigint NOT NULL
);

-- Counts the server's lives between crashes; asked once per connection.
CREATE FUNCTION waymark.current_epoch() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    found_epoch bigint;
    checkpoint_xid text;
BEGIN
    SELECT max(epoch) INTO found_epoch FROM waymark.boot_current;
    IF found_epoch IS NOT NULL THEN
        RETURN found_epoch;
    END IF;
    PERFORM pg_advisory_xact_lock(8029461, 1);
    SELECT max(epoch) INTO found_epoch FROM waymark.boot_current;
    IF found_epoch IS NOT NULL THEN
        RETURN found_epoch;
    END IF;
    -- The latest checkpoint is the one at the end of recovery: every id from its next_xid
    -- on was handed out after the crash.
    SELECT next_xid INTO checkpoint_xid FROM pg_control_checkpoint();
    INSERT INTO waymark.boot (next_xid)
    VALUES ((split_part(checkpoint_xid, ':', 1)::bigint * 4294967296
             + split_part(checkpoint_xid, ':', 2)::bigint)::text::xid8)
    RETURNING epoch INTO found_epoch;
    INSERT INTO waymark.boot_current (epoch) VALUES (found_epoch);
    RETURN found_epoch;
END
$$;

-- What became of the transaction that got `lost_xid` on a connection made in `lost_epoch`:
-- 'committed', 'aborted', 'in progress', or 'unknown' when it is too long ago.
CREATE FUNCTION waymark.commit_fate(lost_xid xid8, lost_epoch bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    reused_from xid8;
BEGIN
    PERFORM waymark.current_epoch();
    SELECT next_xid INTO reused_from FROM waymark.boot
    WHERE epoch > lost_epoch ORDER BY epoch LIMIT 1;
    IF reused_from IS NOT NULL AND lost_xid >= reused_from THEN
        RETURN 'aborted';
    END IF;
    RETURN coalesce(pg_xact_status(lost_xid), 'unknown');
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN 'aborted'; -- "in the future": recovery never heard of it
END
$$;

-- One row per transaction, topic and namespace that others follow (server/event/hub.h).
-- Partitioned by insertion time so that old rows go by dropping tables: no VACUUM has to
-- keep up.  A position is (xid, seq).
CREATE SEQUENCE waymark.outbox_seq AS bigint CACHE 32;

CREATE TABLE waymark.outbox (
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    seq bigint NOT NULL DEFAULT nextval('waymark.outbox_seq'),
    topic smallint NOT NULL,
    namespace_id int NOT NULL,
    create_time timestamptz NOT NULL DEFAULT clock_timestamp(),
    payload bytea NOT NULL
) PARTITION BY RANGE (create_time);

-- Payloads are protobuf bytes, often a few KB: compressing them costs more than it saves.
ALTER TABLE waymark.outbox ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE INDEX outbox_position ON waymark.outbox (xid, seq);
CREATE TABLE waymark.outbox_default PARTITION OF waymark.outbox DEFAULT
    WITH (toast_tuple_target = 8160);

-- The newest position that retention has dropped; a cursor before it cannot be served.
CREATE TABLE waymark.outbox_trimmed (
    id int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    xid xid8 NOT NULL,
    seq bigint NOT NULL
);
INSERT INTO waymark.outbox_trimmed (xid, seq) VALUES ('0', 0);

-- Which process copies the outbox to Redis.
CREATE TABLE waymark.relay_lease (
    id int PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    holder uuid,
    expire_time timestamptz NOT NULL
) WITH (fillfactor = 50);
INSERT INTO waymark.relay_lease (expire_time) VALUES ('-infinity');

-- Makes the partitions of the next hours and drops those that are past retention.
-- Locks that are not free soon are left for the next call, as writers queue behind the wait.
CREATE FUNCTION waymark.outbox_maintain(retention interval) RETURNS void
LANGUAGE plpgsql SET timezone = 'UTC' AS $$
DECLARE
    part_hours constant int := 6;
    part_start timestamptz;
    part_name text;
    old record;
    last_xid xid8;
    last_seq bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(8029461, 2) THEN
        RETURN;
    END IF;
    PERFORM set_config('lock_timeout', '200ms', true);
    part_start := to_timestamp(floor(extract(epoch FROM now()) / (part_hours * 3600))
                               * (part_hours * 3600));
    FOR i IN 0..2 LOOP
        part_name := 'outbox_' || to_char(part_start, 'YYYYMMDDHH24');
        IF to_regclass('waymark.' || part_name) IS NULL
            AND NOT EXISTS (SELECT FROM waymark.outbox_default
                            WHERE create_time >= part_start
                            AND create_time < part_start + make_interval(hours => part_hours))
        THEN
            BEGIN
                EXECUTE format('CREATE TABLE waymark.%I (LIKE waymark.outbox INCLUDING ALL) '
                               'WITH (toast_tuple_target = 8160)', part_name);
                EXECUTE format('ALTER TABLE waymark.outbox ATTACH PARTITION waymark.%I '
                               'FOR VALUES FROM (%L) TO (%L)', part_name, part_start,
                               part_start + make_interval(hours => part_hours));
            EXCEPTION
                WHEN lock_not_available OR check_violation THEN NULL;
            END;
        END IF;
        part_start := part_start + make_interval(hours => part_hours);
    END LOOP;

    FOR old IN
        SELECT c.relname
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'waymark.outbox'::regclass AND c.relname ~ '^outbox_[0-9]{10}$'
        AND to_timestamp(substr(c.relname, 8), 'YYYYMMDDHH24')
            + make_interval(hours => part_hours) < now() - retention
        ORDER BY c.relname
    LOOP
        BEGIN
            EXECUTE format('SELECT xid, seq FROM waymark.%I ORDER BY xid DESC, seq DESC LIMIT 1',
                           old.relname) INTO last_xid, last_seq;
            EXECUTE format('DROP TABLE waymark.%I', old.relname);
            UPDATE waymark.outbox_trimmed SET xid = last_xid, seq = last_seq
            WHERE (xid, seq) < (last_xid, last_seq);
        EXCEPTION
            WHEN lock_not_available THEN NULL;
        END;
    END LOOP;

    -- Rows end up here only when nobody made partitions in time.
    WITH gone AS (
        DELETE FROM waymark.outbox_default WHERE create_time < now() - retention
        RETURNING xid, seq
    ), newest AS (
        SELECT xid, seq FROM gone ORDER BY xid DESC, seq DESC LIMIT 1
    )
    UPDATE waymark.outbox_trimmed t SET xid = n.xid, seq = n.seq
    FROM newest n WHERE (t.xid, t.seq) < (n.xid, n.seq);
END
$$;

SELECT waymark.outbox_maintain(interval '24 hours');
