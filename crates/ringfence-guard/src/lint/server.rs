//! The server itself.

use super::{Level, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "DL501",
        name: "server-with-known-holes",
        level: Level::Error,
        why: "minor versions mend what lets a role read or do what it may not (postgresql.org/support/security)",
        query: " SELECT 'PostgreSQL ' || s.version / 10000 || '.' || s.version % 10000, string_agg(h.cve || ': ' || h.what, '; ' ORDER BY h.cve),
                format('-- Update to %s.%s or later', s.version / 10000, max(h.fixed))
           FROM server s JOIN (VALUES
                (15, 3, 'CVE-2023-2455', 'policies of the wrong role after inlining'),
                (15, 4, 'CVE-2023-39418', 'MERGE passes policies of UPDATE and SELECT by'),
                (15, 7, 'CVE-2024-4317', 'statistics of expressions of other users'' tables'),
                (16, 3, 'CVE-2024-4317', 'statistics of expressions of other users'' tables'),
                (15, 9, 'CVE-2024-10976', 'policies of the wrong role below sub-queries'),
                (16, 5, 'CVE-2024-10976', 'policies of the wrong role below sub-queries'),
                (17, 1, 'CVE-2024-10976', 'policies of the wrong role below sub-queries'),
                (15, 9, 'CVE-2024-10978', 'the wrong role after SET ROLE is undone'),
                (16, 5, 'CVE-2024-10978', 'the wrong role after SET ROLE is undone'),
                (17, 1, 'CVE-2024-10978', 'the wrong role after SET ROLE is undone'),
                (15, 14, 'CVE-2025-8713', 'samples of rows that views, partitions and policies hide'),
                (16, 10, 'CVE-2025-8713', 'samples of rows that views, partitions and policies hide'),
                (17, 6, 'CVE-2025-8713', 'samples of rows that views, partitions and policies hide'),
                (15, 16, 'CVE-2026-2006', 'texts of several bytes run code as the server'),
                (16, 12, 'CVE-2026-2006', 'texts of several bytes run code as the server'),
                (17, 8, 'CVE-2026-2006', 'texts of several bytes run code as the server'),
                (18, 2, 'CVE-2026-2006', 'texts of several bytes run code as the server'),
                (15, 18, 'CVE-2026-6473', 'sizes that overflow write beyond memory'),
                (16, 14, 'CVE-2026-6473', 'sizes that overflow write beyond memory'),
                (17, 10, 'CVE-2026-6473', 'sizes that overflow write beyond memory'),
                (18, 4, 'CVE-2026-6473', 'sizes that overflow write beyond memory'),
                (15, 19, 'CVE-2026-14666', 'plans with policies as they were before a role changed')
            ) h (major, fixed, cve, what) ON h.major = s.version / 10000 AND s.version % 10000 < h.fixed
          GROUP BY s.version",
    },
    Rule {
        id: "DL502",
        name: "server-without-tls",
        level: Level::Note,
        why: "whoever is on the way between the application and the server reads every tenant's rows",
        query: " SELECT 'ssl', 'it is off', '-- Set ssl = on in postgresql.conf, unless nothing but local sockets is listened on'
           WHERE current_setting('ssl') = 'off'",
    },
    Rule {
        id: "DL503",
        name: "server-out-of-support",
        level: Level::Error,
        why: "a major version that is out of support is not mended any more, and Ringfence needs 15",
        query: " SELECT 'PostgreSQL ' || s.version / 10000, 'it gets no fixes', '-- Move to a supported major version'
           FROM server s WHERE s.version < 150000",
    },
    Rule {
        id: "DL504",
        name: "server-keeps-prepared-transactions",
        level: Level::Warning,
        why: "what PREPARE TRANSACTION leaves belongs to no session: it holds its locks when its tenant's sessions are ended, and whoever \
              has the same role may finish it",
        query: " SELECT 'max_prepared_transactions', format('it is %s', current_setting('max_prepared_transactions')),
                '-- ALTER SYSTEM SET max_prepared_transactions = 0, and restart'
           WHERE current_setting('max_prepared_transactions') <> '0'",
    },
];
