-- The rows of forge_changes are read and swept by these functions, so that neither costs more than what is new: whatever else lies in the table,
-- dead or not swept yet, whatever the planner believes to be there, and however long somebody's transaction stays open. They go along the index,
-- and never compile.
--
-- What became visible between two snapshots was written by a transaction that had not begun at the first, or by one that was open then and has
-- ended since. (No other comparison finds just that: ids do not order commits.)

-- The changes that the current snapshot sees and `since` does not.
CREATE FUNCTION forge_changes_since(since pg_snapshot) RETURNS SETOF text LANGUAGE plpgsql STABLE STRICT ROWS 100
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
BEGIN
    RETURN QUERY SELECT c.change FROM forge_changes c
    WHERE c.xid >= pg_snapshot_xmax(since) AND c.xid < pg_snapshot_xmax(pg_current_snapshot());
    RETURN QUERY SELECT c.change FROM forge_changes c
    WHERE c.xid = ANY (ARRAY(SELECT x FROM pg_snapshot_xip(since) x WHERE pg_visible_in_snapshot(x, pg_current_snapshot())));
END
$$;

-- Deletes the changes that `until` sees and `since` does not; all that it sees, when there is no `since`.
CREATE FUNCTION forge_changes_sweep(since pg_snapshot, until pg_snapshot) RETURNS bigint LANGUAGE plpgsql
SET search_path FROM CURRENT SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off
AS $$
DECLARE
    begun_since bigint;
    ended_since bigint;
BEGIN
    DELETE FROM forge_changes c
    WHERE c.xid >= coalesce(pg_snapshot_xmax(since), '0') AND c.xid < pg_snapshot_xmax(until)
      AND pg_visible_in_snapshot(c.xid, until);
    GET DIAGNOSTICS begun_since = ROW_COUNT;
    DELETE FROM forge_changes c
    WHERE c.xid = ANY (ARRAY(SELECT x FROM pg_snapshot_xip(since) x WHERE pg_visible_in_snapshot(x, until)));
    GET DIAGNOSTICS ended_since = ROW_COUNT;
    RETURN begun_since + ended_since;
END
$$;
