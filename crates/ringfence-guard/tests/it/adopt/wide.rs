//! A schema as wide as large applications' are, of every kind of table that is told apart: what each is found to be, and the way
//! there and back.

use std::time::Duration;

use ringfence_guard::adopt::{Belonging, Certainty, Decisions, report};

use crate::{
    adopted::{Adopted, STAGES, UNDO, assert_same},
    fixture::{ask, now},
};

/// So many of each kind.
const OF_A_KIND: usize = 24;

/// How long looking may take, and how long going there and back. On two busy cores it was 0.2 s, and 8 s.
const LOOKING: Duration = Duration::from_secs(5);
const GOING: Duration = Duration::from_secs(90);

/// What a kind of table is found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    /// By a column that names the tenant: by a foreign key, or by its name only.
    Direct { foreign_key: bool },
    /// Through so many tables, and in so many other ways that must agree.
    Through { steps: usize, also: usize },
    /// All tenants'.
    Shared,
    /// What is told of it has this in it.
    Undecided(&'static str),
    /// A tenant's, and left alone for this reason.
    Left(&'static str),
}

/// Each kind: its name, its columns (`#` is the number among its kind), its rows, of both tenants, and what it is.
const KINDS: [(&str, &str, &str, Found); 14] = [
    (
        "kinds",
        "(id int PRIMARY KEY, name text NOT NULL UNIQUE)",
        "SELECT n, 'k' || n FROM generate_series(1, 3) n",
        Found::Shared,
    ),
    (
        "documents",
        "(id bigint PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations ON DELETE CASCADE,
            kind int NOT NULL REFERENCES kinds_#, name text NOT NULL, state text, body text, UNIQUE (name))",
        "SELECT n, 1 + n % 2, 1 + n % 3, 'd' || n FROM generate_series(1, 10) n",
        Found::Direct { foreign_key: true },
    ),
    (
        "entries",
        "(id int PRIMARY KEY, organization_id bigint NOT NULL, line text)",
        "SELECT n, 1 + n % 2, 'e' FROM generate_series(1, 10) n",
        Found::Direct { foreign_key: false },
    ),
    (
        "pages",
        "(id uuid PRIMARY KEY DEFAULT gen_random_uuid(), document bigint NOT NULL REFERENCES documents_#, number int NOT NULL,
            UNIQUE (document, number))",
        "SELECT gen_random_uuid(), n, 1 FROM generate_series(1, 10) n",
        Found::Through { steps: 2, also: 0 },
    ),
    (
        "paragraphs",
        "(id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, page uuid NOT NULL REFERENCES pages_# ON DELETE CASCADE, text text)",
        "OVERRIDING SYSTEM VALUE SELECT row_number() OVER (), id, 'p' FROM pages_#",
        Found::Through { steps: 3, also: 0 },
    ),
    (
        "labels",
        "(id int PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, text text NOT NULL)",
        "SELECT n, 1 + n % 2, 'L' || n FROM generate_series(1, 10) n",
        Found::Direct { foreign_key: true },
    ),
    (
        "documents_labels",
        "(document bigint NOT NULL REFERENCES documents_#, label int NOT NULL REFERENCES labels_#, PRIMARY KEY (document, label))",
        "SELECT n, n FROM generate_series(1, 10) n",
        Found::Through { steps: 2, also: 1 },
    ),
    (
        "orders",
        "(organization_id bigint NOT NULL REFERENCES organizations, number int NOT NULL, PRIMARY KEY (organization_id, number))",
        "SELECT 1 + n % 2, n FROM generate_series(1, 10) n",
        Found::Direct { foreign_key: true },
    ),
    (
        "order_lines",
        "(of bigint NOT NULL, number int NOT NULL, line int NOT NULL, PRIMARY KEY (of, number, line),
            FOREIGN KEY (of, number) REFERENCES orders_# (organization_id, number))",
        "SELECT 1 + n % 2, n, 1 FROM generate_series(1, 10) n",
        Found::Through { steps: 2, also: 0 },
    ),
    (
        "folders",
        "(id int PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, parent int REFERENCES folders_#)",
        "SELECT n, 1 + n % 2, CASE WHEN n > 2 THEN n - 2 END FROM generate_series(1, 10) n",
        Found::Direct { foreign_key: true },
    ),
    (
        "grants",
        "(id int PRIMARY KEY, giver bigint NOT NULL REFERENCES organizations, taker bigint NOT NULL REFERENCES organizations)",
        "SELECT n, 1 + n % 2, 2 - n % 2 FROM generate_series(1, 10) n",
        Found::Undecided("several columns name a tenant (giver; taker)"),
    ),
    (
        "remarks",
        "(id int PRIMARY KEY, about_type text NOT NULL, about_id bigint NOT NULL)",
        "SELECT n, 'Document', n FROM generate_series(1, 10) n",
        Found::Undecided("about_type and about_id name a row of any table"),
    ),
    ("oddments", "(id int PRIMARY KEY, day date)", "SELECT 1", Found::Undecided("nothing leads from it to a tenant")),
    (
        "events",
        "(id int PRIMARY KEY, organization_id bigint NOT NULL) PARTITION BY HASH (id);
         CREATE TABLE events_#_all PARTITION OF events_# FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
        "SELECT n, 1 + n % 2 FROM generate_series(1, 10) n",
        Found::Left("partitioned"),
    ),
];

fn schema() -> String {
    let mut sql = "DROP TABLE payments, accounts, staging; DELETE FROM ringfence.protected;
        CREATE TABLE organizations (id bigint PRIMARY KEY, slug text NOT NULL UNIQUE);
        INSERT INTO organizations VALUES (1, 'acme'), (2, 'globex');\n"
        .to_owned();
    for number in 0..OF_A_KIND {
        for (kind, columns, rows, _) in KINDS {
            let one = format!("CREATE TABLE {kind}_# {columns};\nINSERT INTO {kind}_# {rows};\n");
            sql.push_str(&one.replace('#', &number.to_string()));
        }
    }
    sql
}

/// Every table of the kinds that are so, as they are called where all are named.
fn tables(so: impl Fn(Found) -> bool) -> Vec<String> {
    let kinds = KINDS.iter().filter(|(.., found)| so(*found));
    let mut names: Vec<String> = kinds
        .flat_map(|(kind, ..)| (0..OF_A_KIND).map(move |number| format!("public.{kind}_{number}")))
        .collect();
    names.sort();
    names
}

fn assert_found(table: &str, is: &Belonging, expected: Found) {
    let as_expected = match (is, expected) {
        (Belonging::Direct { step, also }, Found::Direct { foreign_key }) => {
            also.is_empty() && foreign_key == matches!(step.by, Certainty::ForeignKey(_))
        }
        (Belonging::Direct { .. }, Found::Left(_)) | (Belonging::Shared { .. }, Found::Shared) => true,
        (Belonging::Through { path, also }, Found::Through { steps, also: others }) => {
            (path.len(), also.len()) == (steps, others)
        }
        (Belonging::Undecided { why }, Found::Undecided(told)) => why.contains(told),
        _ => false,
    };
    assert!(as_expected, "{table}: {expected:?}, and not {is:?}");
}

/// How long a part of it took, which is told.
fn took(part: &str, began: ringfence_context::UnixTime, most: Duration) {
    let took = now().since(began);
    println!("{part}: {took:?}");
    assert!(took < most, "{part} took {took:?}");
}

#[tokio::test]
async fn every_kind_of_table_is_found_hundreds_of_times_and_all_are_brought_back_to_the_letter() {
    let adopted = Adopted::new(&schema()).await;
    let before = adopted.dump();
    let began = now();
    let mut client = adopted.world.superuser().await;
    let inferred = report(&mut client, "organizations", &Decisions::default()).await.unwrap();
    assert_eq!(inferred.tables.len(), KINDS.len() * OF_A_KIND + 1);
    for (kind, _, _, expected) in KINDS {
        for number in 0..OF_A_KIND {
            let table = format!("public.{kind}_{number}");
            assert_found(&table, &inferred.tables[&table], expected);
        }
    }
    // What only the operator knows.
    let each = |what: &str| (0..OF_A_KIND).map(|number| what.replace('#', &number.to_string())).collect();
    let decisions = Decisions {
        belongs: each("grants_#.giver"),
        dropped: each("grants_#.taker"),
        ..Decisions::default()
    };
    let migration = adopted.plan(&decisions).await.unwrap();
    took("looking", began, LOOKING);
    let mut protected = migration.tables.clone();
    protected.sort();
    let of_tenants = |found| {
        matches!(found, Found::Direct { .. } | Found::Through { .. })
            || matches!(found, Found::Undecided(why) if why.contains("giver"))
    };
    let mut expected = tables(of_tenants);
    expected.push("public.organizations".to_owned());
    expected.sort();
    assert_eq!(protected, expected);
    assert_eq!(migration.shared, tables(|found| found == Found::Shared));
    let left = |found| !of_tenants(found) && found != Found::Shared;
    assert_eq!(migration.undecided.keys().cloned().collect::<Vec<_>>(), tables(left));
    let partitioned = tables(|found| matches!(found, Found::Left(_)));
    assert!(partitioned.iter().all(|table| migration.undecided[table].contains("partitioned")));

    migration.write(&adopted.folder).unwrap();
    let began = now();
    for stage in STAGES {
        adopted.run(stage).await;
        took(stage, began, GOING);
    }
    assert_all_owned(&adopted, &protected).await;
    let looked = now();
    adopted.assert_sound(|object| protected.iter().any(|table| table == object)).await;
    took("lint", looked, LOOKING);
    for undo in UNDO {
        adopted.run(undo).await;
        took(undo, began, GOING);
    }
    assert_same(&adopted.dump(), &before);
}

/// Each table has as many rows of the one tenant as of the other, and a session of the one sees its own.
async fn assert_all_owned(adopted: &Adopted, protected: &[String]) {
    let (session, _) = adopted.world.as_acme().await;
    for table in protected {
        let counted = format!(
            "SELECT string_agg(DISTINCT tenant_id, ' '), count(*) FILTER (WHERE tenant_id = 'acme'), count(*) / 2 FROM {table}"
        );
        let all = ask(&adopted.world.admin, &counted).await.unwrap();
        let own: Vec<&str> = all.split('|').collect();
        assert_eq!((own[0], own[1]), ("acme globex", own[2]), "{table}: {all}");
        let seen = format!("SELECT string_agg(DISTINCT tenant_id, ' '), count(*) FROM {table}");
        assert_eq!(ask(&session, &seen).await.unwrap(), format!("acme|{}", own[1]), "{table}");
    }
    session.batch_execute("ROLLBACK").await.unwrap();
}
