//! sqlx as two tenants, each with a pool of its own. Arguments: port, database, a token of acme's, one of globex'.

use std::{error::Error, time::Duration};

use futures_util::{StreamExt, TryStreamExt, future::try_join_all};
use sqlx::{
    Acquire, Connection, Executor, PgConnection, PgPool, Row,
    postgres::{PgConnectOptions, PgPoolCopyExt, PgPoolOptions, PgSslMode},
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

const INSERT: &str = "INSERT INTO accounts VALUES ($1, $2, $3, $4)";
const COUNT: &str = "SELECT count(*) FROM accounts WHERE id > $1";

struct Tenant {
    name: &'static str,
    token: String,
    rows: i64,
    other: &'static str,
}

impl Tenant {
    fn options(&self, port: u16, database: &str) -> PgConnectOptions {
        let options = PgConnectOptions::new_without_pgpass().host("127.0.0.1").port(port).database(database);
        options.username(self.name).password(&self.token).ssl_mode(PgSslMode::Disable)
    }
}

fn refused<T>(state: &str, result: Result<T, sqlx::Error>) -> sqlx::Error {
    let error = result.err().expect("it was not refused");
    let code = error.as_database_error().and_then(|error| error.code());
    assert_eq!(code.as_deref(), Some(state), "{error}");
    error
}

/// More connections than there are to Postgres; those of both tenants have them in turn. Each asks first whether it is alive.
async fn shared(pools: &[(Tenant, PgPool)]) -> Outcome {
    let turns = (0..10).map(async |number| {
        let (tenant, pool) = &pools[number % 2];
        for round in 0..12_i32 {
            let mut connection = pool.acquire().await?;
            let count: i64 = sqlx::query_scalar(COUNT).bind(0).fetch_one(&mut *connection).await?;
            assert_eq!(count, tenant.rows);
            let mut transaction = connection.begin().await?;
            let sum: i64 = sqlx::query_scalar("SELECT count(*) + $1 FROM accounts")
                .bind(round)
                .fetch_one(&mut *transaction)
                .await?;
            assert_eq!(sum, tenant.rows + i64::from(round));
            transaction.commit().await?;
        }
        Ok::<_, sqlx::Error>(())
    });
    try_join_all(turns).await?;
    Ok(())
}

async fn insert(connection: &mut PgConnection, tenant: &str, id: i32) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT).bind(tenant).bind(id).bind("o'wner").bind(7_i64).execute(connection).await.map(|_| ())
}

async fn writes(tenant: &Tenant, pool: &PgPool) -> Outcome {
    let mut transaction = pool.begin().await?;
    insert(&mut transaction, tenant.name, 90).await?;
    let mut savepoint = transaction.begin().await?;
    refused("42501", insert(&mut savepoint, tenant.other, 90).await);
    savepoint.rollback().await?;
    transaction.commit().await?;
    let mut connection = pool.acquire().await?;
    refused("42501", insert(&mut connection, tenant.other, 90).await);
    let foreign = sqlx::query("UPDATE accounts SET balance = 0 WHERE tenant_id = $1").bind(tenant.other);
    assert_eq!(foreign.execute(&mut *connection).await?.rows_affected(), 0);
    drop(connection);
    let delete = "DELETE FROM accounts WHERE id = $1";
    let mut transaction = pool.begin().await?;
    sqlx::query(delete).bind(90).execute(&mut *transaction).await?;
    refused("22012", sqlx::query("SELECT 1 / $1").bind(0).execute(&mut *transaction).await);
    // Rolled back where it is let go of.
    drop(transaction);
    assert_eq!(sqlx::query(delete).bind(90).execute(pool).await?.rows_affected(), 1);
    let rows = sqlx::query("SELECT tenant_id FROM accounts").fetch_all(pool).await?;
    assert_eq!(rows.len() as i64, tenant.rows);
    assert!(rows.iter().all(|row| row.get::<&str, _>(0) == tenant.name));
    Ok(())
}

async fn streams(tenant: &Tenant, pool: &PgPool) -> Outcome {
    const LARGE: &str = "SELECT n, repeat('x', 20) FROM generate_series(1, 200000) n";
    let sum = sqlx::query(LARGE)
        .fetch(pool)
        .try_fold(0, async |sum, row| Ok(sum + i64::from(row.get::<i32, _>(0))));
    assert_eq!(sum.await?, 20_000_100_000);
    // One that is let go of half-way: the connection reads the rest before it is used again.
    let mut connection = pool.acquire().await?;
    let some: Vec<_> = sqlx::query(LARGE).fetch(&mut *connection).take(10).try_collect().await?;
    assert_eq!(some[9].get::<i32, _>(0), 10);
    assert_eq!(sqlx::query_scalar::<_, i64>(COUNT).bind(0).fetch_one(&mut *connection).await?, tenant.rows);
    Ok(())
}

async fn copies(tenant: &Tenant, pool: &PgPool) -> Outcome {
    let mut copy = pool.copy_in_raw("COPY staging FROM STDIN").await?;
    copy.send(format!("{}\t1\tcopied\t5\n", tenant.name).into_bytes()).await?;
    assert_eq!(copy.finish().await?, 1);
    let out: Vec<_> =
        pool.copy_out_raw("COPY (SELECT * FROM accounts) TO STDOUT").await?.try_collect().await?;
    let out = String::from_utf8(out.concat())?;
    assert_eq!(out.lines().filter(|line| line.starts_with(tenant.name)).count() as i64, tenant.rows);
    assert_eq!(out.lines().count() as i64, tenant.rows);
    // What several statements are at once, which are not prepared.
    pool.execute("SELECT 1; SELECT 2").await?;
    Ok(())
}

async fn turned_away(tenant: &Tenant, other: &Tenant, options: &PgConnectOptions) {
    for token in [other.token.clone(), format!("{}x", tenant.token), "secret".to_owned()] {
        let error = refused("28000", PgConnection::connect_with(&options.clone().password(&token)).await);
        let error = error
            .as_database_error()
            .and_then(|error| error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>());
        let error = error.expect("Postgres' error");
        assert!(error.detail().is_some_and(|detail| detail.starts_with("layer=guard reason=")), "{error}");
        assert!(error.hint().is_some(), "{error}");
    }
}

#[tokio::main]
async fn main() -> Outcome {
    let [port, database, acme, globex] =
        std::env::args().skip(1).collect::<Vec<_>>().try_into().map_err(|_| "four arguments")?;
    let port = port.parse()?;
    let tenants = [
        Tenant { name: "acme", token: acme, rows: 3, other: "globex" },
        Tenant { name: "globex", token: globex, rows: 5, other: "acme" },
    ];
    let pools = tenants.map(|tenant| {
        let options = tenant.options(port, &database);
        (tenant, PgPoolOptions::new().max_connections(4).test_before_acquire(true).connect_lazy_with(options))
    });
    shared(&pools).await?;
    for (at, (tenant, pool)) in pools.iter().enumerate() {
        writes(tenant, pool).await?;
        streams(tenant, pool).await?;
        copies(tenant, pool).await?;
        turned_away(tenant, &pools[1 - at].0, &tenant.options(port, &database)).await;
    }
    // A statement whose answer nobody waits for any more: sqlx does not ask for it to be cancelled, others are served.
    let slow = sqlx::query("SELECT pg_sleep(600)").execute(&pools[0].1);
    assert!(tokio::time::timeout(Duration::from_millis(100), slow).await.is_err());
    let count: i64 = sqlx::query_scalar(COUNT).bind(0).fetch_one(&pools[0].1).await?;
    assert_eq!(count, 3);
    // It leaves then, in the middle of a transaction, and without a word.
    let mut left = pools[0].1.begin().await?;
    insert(&mut left, "acme", 95).await?;
    std::process::exit(0);
}
