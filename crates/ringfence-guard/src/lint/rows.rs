//! Row security: which rows a table's policies let through.

use super::{Level, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "DL101",
        name: "row-security-off",
        level: Level::Error,
        why: "without row security every statement sees every tenant's rows, whatever policies the table has",
        query: " SELECT t.name, CASE WHEN EXISTS (SELECT FROM policy p WHERE p.polrelid = t.oid)
                THEN 'row security is off, so its policies do nothing' ELSE 'row security is off' END,
                format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY; ALTER TABLE %1$s FORCE ROW LEVEL SECURITY;', t.name)
           FROM tenant t WHERE NOT t.relrowsecurity AND NOT t.child ORDER BY 1",
    },
    Rule {
        id: "DL102",
        name: "row-security-not-forced",
        level: Level::Warning,
        why: "row security does not bind a table's owner, and every view and definer function of the owner's is the owner",
        query: " SELECT t.name, format('its owner %s sees every row', t.relowner::regrole),
                format('ALTER TABLE %s FORCE ROW LEVEL SECURITY;', t.name)
           FROM tenant t WHERE t.relrowsecurity AND NOT t.relforcerowsecurity ORDER BY 1",
    },
    Rule {
        id: "DL103",
        name: "no-policy",
        level: Level::Note,
        why: "row security without a permissive policy lets nothing through: somebody meant more, or the table is unused",
        query: " SELECT t.name, CASE WHEN EXISTS (SELECT FROM policy p WHERE p.polrelid = t.oid)
                THEN 'all its policies are restrictive: no row is seen' ELSE 'it has no policy: no row is seen' END,
                '-- Write a policy for it, or DROP TABLE ' || t.name
           FROM tenant t WHERE t.relrowsecurity AND NOT t.child
            AND NOT EXISTS (SELECT FROM policy p WHERE p.polrelid = t.oid AND p.polpermissive) ORDER BY 1",
    },
    Rule {
        id: "DL104",
        name: "policy-lets-everything",
        level: Level::Error,
        why: "a permissive policy that is true for every row widens every other permissive policy to it",
        query: " SELECT p.called, format('%s is true for every row',
                CASE WHEN p.qual ~ x.always THEN 'USING' ELSE 'WITH CHECK' END),
                format('DROP POLICY %s;', p.called)
           FROM policy p, (SELECT '(^\\(*true\\)*$)|(\\mOR \\(*true\\M)|(\\mtrue\\)* OR\\M)|(^\\(*1 = 1\\)*$)' AS always) x
          WHERE p.polpermissive AND p.polrelid NOT IN (SELECT f.polrelid FROM fenced f)
            AND (p.qual ~ x.always OR p.with_check ~ x.always) ORDER BY 1",
    },
    Rule {
        id: "DL105",
        name: "policy-without-tenant",
        level: Level::Error,
        why: "a permissive policy that does not compare the tenant column lets through what its other conditions do, of any tenant",
        query: " SELECT p.called, format('USING (%s) does not compare %I', p.qual, p.attname),
                format('DROP POLICY %s; -- or compare %I in it', p.called, p.attname)
           FROM policy p
          WHERE p.polpermissive AND p.qual !~ p.by_tenant AND p.qual NOT IN ('true', 'false')
            AND p.polrelid NOT IN (SELECT f.polrelid FROM fenced f) ORDER BY 1",
    },
    Rule {
        id: "DL106",
        name: "writes-unchecked",
        level: Level::Error,
        why: "what may be written is said apart from what may be seen: rows can be given to another tenant",
        query: " SELECT p.called, format('WITH CHECK (%s) does not compare %I', p.with_check, p.attname),
                format('ALTER POLICY %s WITH CHECK (%s);', p.called, coalesce(p.qual, p.attname || ' = (SELECT ringfence.tenant_id())'))
           FROM policy p
          WHERE p.with_check !~ p.by_tenant AND p.with_check <> 'false'
            AND (p.polpermissive OR p.qual ~ p.by_tenant)
            AND p.polrelid NOT IN (SELECT f.polrelid FROM fenced f) ORDER BY 1",
    },
    Rule {
        id: "DL107",
        name: "no-restrictive-policy",
        level: Level::Warning,
        why: "permissive policies are joined by OR: whoever adds another, for support or for a report, opens the table",
        query: " SELECT t.name, format('no restrictive policy for everybody and every command compares %I', t.attname),
                format('CREATE POLICY tenant_only ON %s AS RESTRICTIVE USING (%I = (SELECT ringfence.tenant_id()));', t.name, t.attname)
           FROM tenant t WHERE t.relrowsecurity AND NOT t.child AND t.oid NOT IN (SELECT f.polrelid FROM fenced f)
            AND EXISTS (SELECT FROM policy p WHERE p.polrelid = t.oid) ORDER BY 1",
    },
    Rule {
        id: "DL108",
        name: "restrictive-policy-restricts-nothing",
        level: Level::Warning,
        why: "a restrictive policy that is always true looks like a floor and is none",
        query: " SELECT p.called, 'USING is true for every row', format('DROP POLICY %s;', p.called)
           FROM policy p WHERE NOT p.polpermissive AND p.qual = 'true' ORDER BY 1",
    },
    Rule {
        id: "DL109",
        name: "tenant-from-a-setting",
        level: Level::Error,
        why: "any statement may set a setting, also in the middle of a query and by SQL injection: it proves no tenant",
        query: " SELECT p.called, 'it believes current_setting(...)' || CASE WHEN coalesce(p.qual, '') || coalesce(p.with_check, '') ~
                'current_setting\\(''[^'']*''::text\\)' THEN ', and fails where nobody set it' ELSE '' END,
                '-- Compare with (SELECT ringfence.tenant_id()), which verifies what it reads: ringfence data adopt'
           FROM policy p WHERE coalesce(p.qual, '') || coalesce(p.with_check, '') ~ '\\mcurrent_setting\\('
         UNION
         SELECT c.called, format('it believes %s, which reads a setting', c.name),
                '-- Compare with (SELECT ringfence.tenant_id()), which verifies what it reads: ringfence data adopt'
           FROM called c WHERE c.prosrc ~* '\\mcurrent_setting\\M' AND c.nspname <> 'ringfence' ORDER BY 1",
    },
    Rule {
        id: "DL110",
        name: "tenant-from-current-user",
        level: Level::Warning,
        why: "current_user changes with SET ROLE, in definer functions and in views; session_user does not",
        query: " SELECT p.called, 'it compares CURRENT_USER',
                format('-- Compare session_user in policy %s, and let no role become another', p.called)
           FROM policy p WHERE coalesce(p.qual, '') || coalesce(p.with_check, '') ~ '\\m(CURRENT_USER|CURRENT_ROLE)\\M' ORDER BY 1",
    },
    Rule {
        id: "DL111",
        name: "policy-for-some-roles",
        level: Level::Warning,
        why: "a plan may be made under one role and run under another: CVE-2016-2193, CVE-2023-2455 and CVE-2024-10976 let rows out so",
        query: " SELECT p.called, 'it is for ' || (SELECT string_agg(r::regrole::text, ', ') FROM unnest(p.polroles) r),
                format('ALTER POLICY %s TO PUBLIC;', p.called)
           FROM policy p WHERE p.polroles <> '{0}' ORDER BY 1",
    },
    Rule {
        id: "DL112",
        name: "policy-for-a-role-it-does-not-bind",
        level: Level::Note,
        why: "superusers and roles with BYPASSRLS pass every policy by: one for them does nothing",
        query: " SELECT p.called, 'it is for ' || string_agg(r.rolname, ', ' ORDER BY r.rolname), format('DROP POLICY %s;', p.called)
           FROM policy p JOIN pg_roles r ON r.oid = ANY (p.polroles) AND (r.rolsuper OR r.rolbypassrls)
          GROUP BY p.called ORDER BY 1",
    },
    Rule {
        id: "DL113",
        name: "tenant-written-into-a-policy",
        level: Level::Warning,
        why: "a policy that names one tenant shows its rows to whoever else the policy is for",
        query: " SELECT p.called, format('it compares %I with a constant', p.attname),
                format('DROP POLICY %s;', p.called)
           FROM policy p WHERE p.polpermissive AND coalesce(p.qual, '') || ' ' || coalesce(p.with_check, '') ~
                ('\\m' || p.attname || '\\M\\)?(::\\w+)? = (ANY \\()?\\(?(''|ARRAY\\[''|[0-9])') ORDER BY 1",
    },
    Rule {
        id: "DL114",
        name: "tenant-by-a-pattern",
        level: Level::Error,
        why: "a tenant whose id another's begins with, or that may choose wildcards, sees the other's rows",
        query: " SELECT p.called, format('it compares %I by a pattern', p.attname),
                format('-- Compare %I by = in policy %s', p.attname, p.called)
           FROM policy p WHERE coalesce(p.qual, '') || ' ' || coalesce(p.with_check, '') ~
                ('\\m' || p.attname || '\\M\\)?(::\\w+)? !?(~~\\*?|~\\*?|\\^@|SIMILAR) ') ORDER BY 1",
    },
    Rule {
        id: "DL115",
        name: "tenant-may-be-null",
        level: Level::Warning,
        why: "a row without a tenant is nobody's or everybody's, as each policy and query happens to say",
        query: " SELECT t.name, format('%I may be NULL', t.attname),
                format('ALTER TABLE %s ALTER COLUMN %I SET NOT NULL;', t.name, t.attname)
           FROM tenant t WHERE NOT t.attnotnull AND NOT t.child ORDER BY 1",
    },
    Rule {
        id: "DL116",
        name: "immutable-function-reads-the-session",
        level: Level::Error,
        why: "what an immutable function gives is kept in plans, and a plan may be used for the next tenant",
        query: " SELECT c.called, format('%s is IMMUTABLE and reads the session', c.name),
                format('ALTER FUNCTION %s STABLE;', c.name)
           FROM called c WHERE c.provolatile = 'i'
            AND c.prosrc ~* '\\m(current_setting|current_user|session_user|current_role)\\M' ORDER BY 1",
    },
    Rule {
        id: "DL117",
        name: "policy-reads-a-table-anybody-writes",
        level: Level::Error,
        why: "who writes the table that a policy looks tenants up in decides what the policy lets through",
        query: " SELECT p.called, format('it reads %s, which the application may change and no row security guards', r.name),
                format('REVOKE INSERT, UPDATE, DELETE ON %s FROM %s;', r.name, (SELECT string_agg(quote_ident(a.rolname), ', ') FROM app a))
           FROM policy p
           JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_class'::regclass
           JOIN relation r ON r.oid = d.refobjid AND r.oid <> p.polrelid AND NOT r.relrowsecurity
          WHERE EXISTS (SELECT FROM app a WHERE has_table_privilege(a.oid, r.oid, 'INSERT, UPDATE, DELETE'))
          GROUP BY p.called, r.name ORDER BY 1",
    },
    Rule {
        id: "DL118",
        name: "claim-a-user-may-change",
        level: Level::Error,
        why: "user_metadata is what users say about themselves",
        query: " SELECT p.called, 'it believes user_metadata', format('-- Use a claim only the issuer sets in policy %s', p.called)
           FROM policy p WHERE coalesce(p.qual, '') || coalesce(p.with_check, '') ~ 'user_metadata' ORDER BY 1",
    },
    Rule {
        id: "DL119",
        name: "policy-that-lets-nothing",
        level: Level::Note,
        why: "a permissive policy that is always false does nothing",
        query: " SELECT p.called, 'USING is false for every row', format('DROP POLICY %s;', p.called)
           FROM policy p WHERE p.polpermissive AND p.qual = 'false' ORDER BY 1",
    },
    Rule {
        id: "DL120",
        name: "same-policy-twice",
        level: Level::Note,
        why: "one of them will be changed and the other forgotten",
        query: " SELECT p.called, format('it says what %I says', q.polname), format('DROP POLICY %s;', p.called)
           FROM policy p JOIN policy q ON q.polrelid = p.polrelid AND q.polname < p.polname AND q.polcmd = p.polcmd
            AND q.polpermissive = p.polpermissive AND q.polroles = p.polroles
            AND (q.qual, q.with_check) IS NOT DISTINCT FROM (p.qual, p.with_check) ORDER BY 1",
    },
    Rule {
        id: "DL121",
        name: "no-tenant-sees-all",
        level: Level::Error,
        why: "where nobody said which tenant it is, a policy that then lets everything through shows every tenant's rows",
        query: " SELECT p.called, 'it lets rows through where no tenant is set', format('-- Let policy %s be false, or fail, where no tenant is set', p.called)
           FROM policy p, (SELECT '\\)(::\\w+)?\\)*( IS NULL| = ''''::text)' AS nobody) x
          WHERE p.polpermissive AND (p.qual ~ x.nobody AND p.qual ~ '\\mOR\\M' OR p.with_check ~ x.nobody AND p.with_check ~ '\\mOR\\M')
            AND p.polrelid NOT IN (SELECT f.polrelid FROM fenced f) ORDER BY 1",
    },
];
