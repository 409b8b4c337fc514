-- A standby that is promoted resets the unlogged table too, but makes no checkpoint first: the
-- latest one is older than the end of recovery, and its next_xid lies below ids that were
-- committed and replicated.  Such a life does not know where its ids begin, and says so.

ALTER TABLE waymark.boot ADD COLUMN certain boolean NOT NULL DEFAULT true;

CREATE OR REPLACE FUNCTION waymark.current_epoch() RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    found_epoch bigint;
    latest record;
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
    -- After a crash this is the checkpoint at the end of recovery, and every id from its next_xid
    -- on was handed out after it.  After a promotion the WAL is on a newer timeline than the
    -- checkpoint (the first 8 digits of a segment's name).
    SELECT next_xid, lpad(to_hex(timeline_id), 8, '0')
        = lower(left(pg_walfile_name(pg_current_wal_lsn()), 8)) AS is_of_this_life
    INTO latest FROM pg_control_checkpoint();
    INSERT INTO waymark.boot (next_xid, certain)
    VALUES ((split_part(latest.next_xid, ':', 1)::bigint * 4294967296
             + split_part(latest.next_xid, ':', 2)::bigint)::text::xid8, latest.is_of_this_life)
    RETURNING epoch INTO found_epoch;
    INSERT INTO waymark.boot_current (epoch) VALUES (found_epoch);
    RETURN found_epoch;
END
$$;

CREATE OR REPLACE FUNCTION waymark.commit_fate(lost_xid xid8, lost_epoch bigint) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    later record;
    status text;
BEGIN
    PERFORM waymark.current_epoch();
    SELECT next_xid, certain INTO later FROM waymark.boot
    WHERE epoch > lost_epoch ORDER BY epoch LIMIT 1;
    IF later.next_xid IS NULL OR lost_xid < later.next_xid THEN
        RETURN coalesce(pg_xact_status(lost_xid), 'unknown');
    END IF;
    IF later.certain THEN
        RETURN 'aborted';
    END IF;
    -- Committed by it, or by another that got the same id.  Whatever else the status is, it was
    -- not committed.
    status := pg_xact_status(lost_xid);
    RETURN CASE WHEN status IS NULL OR status = 'committed' THEN 'unknown' ELSE 'aborted' END;
EXCEPTION
    WHEN invalid_parameter_value THEN
        RETURN 'aborted'; -- "in the future": recovery never heard of it
END
$$;
