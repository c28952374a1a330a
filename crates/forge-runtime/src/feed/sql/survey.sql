-- What decides whether the log can be read. Everybody may look at all of this.
SELECT current_setting('wal_level') AS wal_level,
       current_setting('max_replication_slots')::int AS slots,
       (SELECT count(*)::int FROM pg_replication_slots) AS slots_used,
       (SELECT count(*)::int FROM pg_replication_slots WHERE NOT temporary AND NOT active) AS slots_abandoned,
       current_setting('max_wal_senders')::int AS senders,
       (SELECT count(*)::int FROM pg_stat_replication) AS senders_used,
       current_setting('max_slot_wal_keep_size') AS slot_keeps,
       current_setting('server_version_num')::int AS version,
       current_setting('server_version') AS version_text,
       current_setting('server_encoding') AS encoding,
       pg_is_in_recovery() AS standby,
       current_user::text AS whoami,
       (SELECT rolsuper OR rolreplication FROM pg_roles WHERE rolname = current_user) AS may_replicate,
       has_database_privilege(current_database(), 'CREATE')
           OR EXISTS (SELECT FROM pg_publication WHERE pubname = 'forge_nothing') AS may_publish,
       (
           SELECT bool_and(has_function_privilege('public', p.oid, 'EXECUTE')) FROM pg_proc p
           WHERE p.proname = 'pg_logical_emit_message' AND p.pronamespace = 'pg_catalog'::regnamespace
       ) AS all_may_write
