-- The two roles. Neither may be more than it has to be: a superuser and a role with BYPASSRLS see every row.
DO $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{owner}') THEN
        CREATE ROLE {owner} NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '{app}') THEN
        CREATE ROLE {app} LOGIN;
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname IN ('{app}', '{owner}')
                AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolreplication)) THEN
        RAISE EXCEPTION 'role {app} or {owner} may bypass row security' USING ERRCODE = 'invalid_role_specification',
            HINT = 'Run ALTER ROLE ... NOSUPERUSER NOBYPASSRLS NOCREATEROLE NOREPLICATION, or name another role.';
    END IF;
    IF '{app}' LIKE 'vended%' THEN
        RAISE EXCEPTION 'role {app} is called as credentials are' USING ERRCODE = 'invalid_role_specification',
            HINT = 'Name another role: one that begins with vended is taken for a login of one tenant''s.';
    END IF;
    IF EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles r ON r.oid = m.member
                WHERE r.rolname = '{app}') THEN
        RAISE EXCEPTION 'role {app} is a member of other roles' USING ERRCODE = 'invalid_role_specification',
            HINT = 'What those may do, every tenant could. REVOKE them, or name another role.';
    END IF;
END
$body$;
