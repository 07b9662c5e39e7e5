-- The role of auditors, and the function that runs the SQL of `assure-agent audit query --sql` as this role.
--
-- A superuser runs this in the agent's database, once, and again after an upgrade of the agent. The command is
-- `assure-agent audit query --roles | psql DATABASE`. For tables in a schema of their own, set the search_path first.
--
-- The function runs as the role that owns it. PostgreSQL refuses every change of the role inside of such a function, so
-- the SQL in it can read nothing that the role cannot read. `SET ROLE` alone would not do: the SQL itself could undo it.
-- It is one transaction, so that the function never belongs to the superuser.

BEGIN;

DO $$
BEGIN
    BEGIN
        CREATE ROLE assure_agent_auditor NOLOGIN;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN
        NULL; -- another database of the server has it, or creates it now
    END;
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO assure_agent_auditor', current_schema());
END $$;

-- Every table except links, claims, deliveries, meta, runtime tables and migrations, and every view.
GRANT SELECT ON
    requests, events, attempts, starts, reservations, withdrawals, orphans, image_deletions, superseded_images,
    provenance, source_revisions, sources, refusals, counters, request_counts, commands, labels, receipts, recoveries,
    unclaimed_dossiers, scan_notes,
    requests_now, history, generations, phases, holds, dossiers, calls, billed_starts, possible_orphans,
    operator_commands
TO assure_agent_auditor;

-- audit_query: the rows of a query, each as a JSON object. `$1` in the query is `parameters`.
CREATE OR REPLACE FUNCTION audit_query(query text, parameters text[], most bigint) RETURNS SETOF json
LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    found record;
BEGIN
    FOR found IN EXECUTE query USING parameters LOOP
        IF most = 0 THEN
            RAISE EXCEPTION 'the query has too many rows' USING ERRCODE = 'AA002';
        END IF;
        most := most - 1;
        RETURN NEXT row_to_json(found);
    END LOOP;
END $$;
REVOKE ALL ON FUNCTION audit_query(text, text[], bigint) FROM PUBLIC;

DO $$
DECLARE
    agent regrole;
BEGIN
    FOR agent IN
        SELECT DISTINCT grantee::regrole FROM pg_class, aclexplode(coalesce(relacl, acldefault('r', relowner)))
        WHERE pg_class.oid = 'events'::regclass AND privilege_type = 'INSERT'
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION audit_query(text, text[], bigint) TO %s', agent);
    END LOOP;
    ALTER FUNCTION audit_query(text, text[], bigint) OWNER TO assure_agent_auditor;
END $$;

COMMIT;
