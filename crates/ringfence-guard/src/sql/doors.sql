-- Closes what one database role shares between the tenants that use it and row security does not govern. What stays
-- open is listed in the documentation of `ringfence_guard::install`.
DO $body$
DECLARE
    door     regprocedure;
    language name;
BEGIN
    FOR door IN
        SELECT p.oid FROM pg_catalog.pg_proc p
         WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f' AND (
            -- what other backends do, counters of all tenants' rows, and setting them back
            p.proname ~ '^pg_stat_(get|reset|clear|force|have)'
            -- large objects have owners, and every tenant is the same one
            OR p.proname ~ '^lo_' OR p.proname IN ('loread', 'lowrite')
            -- one space of numbers for all tenants: to wait on, to see, to block. Giving all back, as pools do, stays allowed.
            OR p.proname ~ '^pg_(try_)?advisory_' AND p.proname <> 'pg_advisory_unlock_all'
            -- how much all tenants have
            OR p.proname IN ('pg_relation_size', 'pg_table_size', 'pg_total_relation_size', 'pg_indexes_size',
                'pg_database_size', 'pg_tablespace_size', 'pg_sequence_last_value')
            -- reaching into other backends, or past this one
            OR p.proname IN ('pg_cancel_backend', 'pg_terminate_backend', 'pg_log_backend_memory_contexts',
                'pg_notify', 'pg_notification_queue_usage', 'pg_export_snapshot', 'pg_lock_status', 'pg_blocking_pids',
                'pg_safe_snapshot_blocking_pids', 'pg_isolation_test_session_is_blocked', 'pg_prepared_xact',
                'pg_get_replication_slots', 'pg_show_replication_origin_status', 'pg_logical_emit_message',
                'pg_current_wal_lsn', 'pg_current_wal_insert_lsn', 'pg_current_wal_flush_lsn', 'pg_get_wal_senders',
                'pg_last_committed_xact', 'pg_xact_commit_timestamp', 'pg_xact_commit_timestamp_origin',
                'pg_xact_status', 'pg_get_multixact_members', 'pg_available_wal_summaries', 'pg_wal_summary_contents',
                'pg_get_wal_summarizer_state'))
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, {app}', door);
    END LOOP;
    GRANT EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(integer), pg_catalog.pg_advisory_lock_shared(bigint),
        pg_catalog.pg_advisory_xact_lock_shared(bigint) TO {owner};
    -- DO blocks catch errors and loop: what turns a one-bit oracle into a dump. In some languages they keep variables.
    FOR language IN SELECT l.lanname FROM pg_catalog.pg_language l WHERE l.lanpltrusted AND l.lanname <> 'sql' LOOP
        EXECUTE pg_catalog.format('REVOKE USAGE ON LANGUAGE %I FROM PUBLIC, {app}', language);
    END LOOP;
    EXECUTE pg_catalog.format('REVOKE ALL ON DATABASE %I FROM PUBLIC, {app}', pg_catalog.current_database());
    EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO {app}', pg_catalog.current_database());
END
$body$;
-- No object of any kind is made by the application's role: what one tenant makes, every tenant would own.
REVOKE CREATE ON SCHEMA public FROM PUBLIC, {app};
