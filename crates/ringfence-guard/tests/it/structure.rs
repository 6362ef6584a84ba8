//! A schema from a file.

use ringfence_guard::{
    Binaries,
    adopt::{Belonging, Catalog, infer},
    structure::{Structure, StructureError},
};

use crate::fixture::scratch;

async fn load(name: &str, text: &str) -> Result<Structure, StructureError> {
    Structure::load(text, scratch(name), Binaries::find(None).unwrap()).await
}

#[tokio::test]
async fn a_file_is_read_with_what_is_installed_and_says_what_is_not() {
    let text = "\\restrict abc
CREATE SCHEMA extensions;
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA extensions;
CREATE EXTENSION IF NOT EXISTS nowhere_to_be_had WITH SCHEMA public;
CREATE TABLE public.organizations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), hash text DEFAULT extensions.crypt('x', ''), place public.geometry);
ALTER TABLE public.organizations OWNER TO somebody;
CREATE TABLE public.orders (id uuid PRIMARY KEY, organization_id uuid NOT NULL REFERENCES public.organizations);
COPY public.orders (id) FROM stdin;
not a uuid
\\.
GRANT SELECT ON public.orders TO somebody;
\\unrestrict abc
";
    let structure = load("structure", text).await.unwrap();
    assert_eq!(structure.left_out(), ["extension nowhere_to_be_had", "type geometry, taken as text"]);
    let mut client = structure.connect().await.unwrap();
    let inferred = infer(&Catalog::read(&mut client).await.unwrap(), "organizations").unwrap();
    assert!(matches!(inferred.tables["public.orders"], Belonging::Direct { .. }));
    structure.stop().await.unwrap();
}

#[tokio::test]
async fn reject_more_types_than_are_taken_as_text() {
    let columns = |count: usize| {
        let columns: Vec<String> = (0..count).map(|n| format!("c{n} public.absent_{n}")).collect();
        format!("CREATE TABLE t ({});", columns.join(", "))
    };
    let most = load("structure-types", &columns(50)).await.unwrap();
    assert_eq!(most.left_out().len(), 50);
    most.stop().await.unwrap();
    let told = load("structure-types-more", &columns(51)).await.unwrap_err();
    assert!(told.to_string().contains("type \"public.absent_50\" does not exist"), "{told}");
}

#[tokio::test]
async fn reject_what_reaches_further_or_is_no_sql_and_name_the_line() {
    let program = "CREATE TABLE t (id int);\n\nCOPY t FROM PROGRAM 'id';\n";
    let told = load("structure-program", program).await.unwrap_err();
    assert!(
        told.to_string().contains("permission denied") || told.to_string().contains("must be superuser"),
        "{told}"
    );
    let told = load("structure-bad", "CREATE TABLE t (id int);\nCREATE TABLE u (\n  id nonsense!\n);")
        .await
        .unwrap_err();
    assert!(matches!(told, StructureError::Sql { line: 3, .. }), "{told}");
}
