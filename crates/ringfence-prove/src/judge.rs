//! The judge: a superuser over Postgres' own socket, outside the attack surface. He plants what must not be seen, knows
//! what must not change, and puts right what an attack has changed.

use tokio::time::{Duration, sleep, timeout};
use tokio_postgres::{Client, Config, NoTls};
use uuid::Uuid;

use crate::{
    dice::Dice,
    error::ProveError,
    leak::{Canaries, Leak, LeakKind},
    scene::{ATTACKER, BYSTANDER, Scene, Tenant, VICTIM},
};

/// Tables whose rows belong to tenants, in the order they may be filled in.
const TABLES: [&str; 3] = ["accounts", "beneficiaries", "payments"];

/// Tenants whose rows must neither be seen nor changed.
const VICTIMS: [&str; 2] = [VICTIM, BYSTANDER];

/// Rows of each victim that the attacker knows nothing of.
const HIDDEN: usize = 3;

/// How long a statement may take to come to a lock it has to wait for.
const WAITING: Duration = Duration::from_secs(2);

/// Where a table is that is protected as most are: by policies that read plain settings.
pub(crate) const PLAIN_SCHEMA: &str = "judge_plain";

/// Settings by which such policies know the tenant, beside `ringfence.context`, whose first word is the tenant.
pub(crate) const PLAIN_OTHERS: [&str; 4] =
    ["app.tenant_id", "app.current_tenant", "ringfence.tenant_id", "rls.tenant_id"];

/// A payment with its account and its beneficiary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target {
    /// The account.
    pub(crate) account: Uuid,
    /// The beneficiary.
    pub(crate) beneficiary: Uuid,
    /// The payment.
    pub(crate) payment: Uuid,
}

/// What has been planted.
#[derive(Debug, Clone)]
pub(crate) struct Ground {
    /// One of the victim's for each attack; the attacker knows their ids.
    pub(crate) targets: Vec<Target>,
    /// The attacker's own.
    pub(crate) own: Vec<Target>,
    /// What must not be seen.
    pub(crate) canaries: Canaries,
    /// The text in all the victim's rows: one of the canaries, for the victim to say.
    pub(crate) tag: String,
}

/// The judge.
pub(crate) struct Judge {
    client: Client,
    /// The schemas of tenants, each once.
    schemas: Vec<String>,
}

impl Judge {
    /// Takes his seat.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn seat(scene: &Scene) -> Result<Self, ProveError> {
        let access = &scene.judge;
        let mut schemas: Vec<String> = scene.tenants.iter().map(|tenant| tenant.schema.clone()).collect();
        schemas.sort();
        schemas.dedup();
        let mut config = Config::new();
        config.host_path(&access.socket).port(access.port).user(&access.user).dbname(&access.database);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(async move {
            // Ends with the judge; what went wrong shows in his own calls.
            let _ = connection.await;
        });
        Ok(Self { client, schemas })
    }

    /// Plants `targets` rows the attacker may aim at, rows he knows nothing of, and `own` rows of his own; then keeps
    /// everything as it is.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn plant(
        &self,
        scene: &Scene,
        dice: &Dice,
        targets: usize,
        own: usize,
    ) -> Result<Ground, ProveError> {
        let common = (100, "EUR".to_owned());
        let mut canaries = Canaries::default();
        let (mut aimed_at, mut said) = (Vec::new(), String::new());
        for (tenant, letter) in VICTIMS.into_iter().zip('A'..) {
            let known = scene.tenant(tenant)?;
            let schema = &known.schema;
            // Everything the victim had before is nobody's business either.
            for table in TABLES {
                let query = format!("SELECT id FROM {schema}.{table} WHERE tenant_id = $1");
                for row in self.client.query(&query, &[&tenant]).await? {
                    canaries.id(&format!("the id of a row of {tenant}'s {table}"), row.try_get(0)?);
                }
            }
            let tag = format!("canary-{tenant}-{}", dice.hex());
            canaries.text(&format!("{tenant}'s data"), &tag);
            for digit in ('A'..).take(HIDDEN) {
                let amount = 7_000_000_000_000_i64.saturating_add_unsigned(dice.number() % 1_000_000_000_000);
                canaries.number(&format!("an amount of {tenant}'s"), amount);
                // In a currency of its own, so that a sum over it is the canary too.
                let money = (amount, format!("X{letter}{digit}"));
                for hidden in self.rows(known, &tag, &money, 1, dice).await? {
                    for id in [hidden.account, hidden.beneficiary, hidden.payment] {
                        canaries.id(&format!("the id of a hidden row of {tenant}"), id);
                    }
                }
            }
            if tenant == VICTIM {
                said.clone_from(&tag);
                aimed_at = self.rows(known, &tag, &common, targets, dice).await?;
            }
            canaries.text(&format!("{tenant}'s client secret"), &known.client.client_secret);
            canaries.text(&format!("the secret of {tenant}'s access key"), &known.access_key.secret);
            let asking = &known.decision_client.client_secret;
            for (what, secret) in [("decision client", Some(asking)), ("policies", known.planted.as_ref())] {
                if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
                    canaries.text(&format!("{tenant}'s {what}"), secret);
                }
            }
            for user in &known.users {
                canaries.text(&format!("a password of {tenant}'s"), &user.password);
            }
        }
        let owned = self.rows(scene.tenant(ATTACKER)?, "the attacker's own", &common, own, dice).await?;
        self.keep().await?;
        Ok(Ground { targets: aimed_at, own: owned, canaries, tag: said })
    }

    /// `count` payments of this amount, each with its own account and beneficiary.
    async fn rows(
        &self,
        Tenant { id: tenant, schema, .. }: &Tenant,
        tag: &str,
        (amount, currency): &(i64, String),
        count: usize,
        dice: &Dice,
    ) -> Result<Vec<Target>, ProveError> {
        let make = |_| Target { account: dice.uuid(), beneficiary: dice.uuid(), payment: dice.uuid() };
        let targets: Vec<Target> = (0..count).map(make).collect();
        let ids = |of: fn(&Target) -> Uuid| targets.iter().map(of).collect::<Vec<_>>();
        let (accounts, beneficiaries) = (ids(|one| one.account), ids(|one| one.beneficiary));
        let insert = format!(
            "INSERT INTO {schema}.accounts (tenant_id, id, name, currency, created_by)
            SELECT $1, id, $2, $3, $2 FROM unnest($4::uuid[]) id"
        );
        self.client.execute(&insert, &[&tenant, &tag, currency, &accounts]).await?;
        let insert = format!(
            "INSERT INTO {schema}.beneficiaries (tenant_id, id, name, country, iban, created_by)
            SELECT $1, id, $2, 'DE', $2, $2 FROM unnest($3::uuid[]) id"
        );
        self.client.execute(&insert, &[&tenant, &tag, &beneficiaries]).await?;
        let insert = format!("INSERT INTO {schema}.payments
                (tenant_id, id, account_id, beneficiary_id, amount, currency, memo, created_by)
            SELECT $1, p, a, b, $2, $3, $4, $4 FROM unnest($5::uuid[], $6::uuid[], $7::uuid[]) AS t (p, a, b)");
        let payments = ids(|one| one.payment);
        self.client
            .execute(&insert, &[&tenant, amount, currency, &tag, &payments, &accounts, &beneficiaries])
            .await?;
        Ok(targets)
    }

    async fn keep(&self) -> Result<(), ProveError> {
        let mut script = "DROP SCHEMA IF EXISTS judge CASCADE; CREATE SCHEMA judge;".to_owned();
        for (schema, table) in self.tables() {
            script.push_str(&format!("CREATE TABLE judge.{schema}_{table} AS TABLE {schema}.{table};"));
        }
        Ok(self.client.batch_execute(&script).await?)
    }

    /// Every table of tenants, with its schema.
    fn tables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.schemas.iter().flat_map(|schema| TABLES.into_iter().map(move |table| (schema.as_str(), table)))
    }

    /// A hash over the victims' rows, table by table: Postgres' own of each row, and their sum, for rows have no order.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn fingerprint(&self) -> Result<Fingerprint, ProveError> {
        let mut hashes = Vec::new();
        for table in TABLES {
            let of = |schema| {
                format!(
                    "SELECT hash_record_extended(t, 0) AS h FROM {schema}.{table} t WHERE tenant_id <> $1"
                )
            };
            let all: Vec<String> = self.schemas.iter().map(of).collect();
            let query =
                format!("SELECT count(*) || ' ' || coalesce(sum(h), 0) FROM ({}) x", all.join(" UNION ALL "));
            hashes.push(self.client.query_one(&query, &[&ATTACKER]).await?.try_get(0)?);
        }
        Ok(Fingerprint(hashes))
    }

    /// Puts every row back to how it was when planted, and takes back what an attack has stored for roles.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn restore(&self) -> Result<(), ProveError> {
        let mut script = "BEGIN; SET LOCAL session_replication_role = replica;".to_owned();
        for (schema, table) in self.tables() {
            script.push_str(&format!(
                "DELETE FROM {schema}.{table}; INSERT INTO {schema}.{table} TABLE judge.{schema}_{table};"
            ));
        }
        script.push_str("COMMIT;");
        self.client.batch_execute(&script).await?;
        self.roles_reset().await
    }

    /// Takes back settings stored for roles: any role may store some for itself.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn roles_reset(&self) -> Result<(), ProveError> {
        let query = "SELECT format('ALTER ROLE %I RESET ALL;', rolname) FROM pg_roles
            WHERE oid IN (SELECT setrole FROM pg_db_role_setting WHERE setdatabase = 0)
            UNION ALL
            SELECT format('ALTER ROLE %I IN DATABASE %I RESET ALL;', r.rolname, d.datname)
            FROM pg_db_role_setting s
            JOIN pg_roles r ON r.oid = s.setrole JOIN pg_database d ON d.oid = s.setdatabase";
        for row in self.client.query(query, &[]).await? {
            self.client.batch_execute(row.try_get(0)?).await?;
        }
        Ok(())
    }

    /// Makes a table of payments that is protected by policies on plain settings, for controls to break into; two rows of it are
    /// the attacker's, two another tenant's.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn plain_make(&self) -> Result<(), ProveError> {
        let mut script = format!(
            "CREATE SCHEMA {PLAIN_SCHEMA};
            CREATE TABLE {PLAIN_SCHEMA}.payments (tenant_id text NOT NULL, memo text NOT NULL);
            INSERT INTO {PLAIN_SCHEMA}.payments
                SELECT t, m FROM (VALUES ('{ATTACKER}', 'own'), ('{VICTIM}', 'another tenant''s')) x (t, m),
                    generate_series(1, 2);
            ALTER TABLE {PLAIN_SCHEMA}.payments ENABLE ROW LEVEL SECURITY;
            CREATE POLICY context ON {PLAIN_SCHEMA}.payments
                USING (tenant_id = split_part(current_setting('ringfence.context', true), '|', 1));
            GRANT USAGE ON SCHEMA {PLAIN_SCHEMA} TO PUBLIC;
            GRANT SELECT, INSERT, UPDATE, DELETE ON {PLAIN_SCHEMA}.payments TO PUBLIC;"
        );
        for (number, name) in PLAIN_OTHERS.iter().enumerate() {
            script.push_str(&format!(
                "CREATE POLICY other_{number} ON {PLAIN_SCHEMA}.payments
                    USING (tenant_id = current_setting('{name}', true));"
            ));
        }
        Ok(self.client.batch_execute(&script).await?)
    }

    /// Takes it away again: no attack finds it.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn plain_drop(&self) -> Result<(), ProveError> {
        Ok(self.client.batch_execute(&format!("DROP SCHEMA {PLAIN_SCHEMA} CASCADE")).await?)
    }

    /// The statement by which `asking` reads payments: the judge holds them until he has seen what waits.
    ///
    /// # Errors
    /// [`ProveError::Judge`].
    pub(crate) async fn statement_seen<F: Future + Send>(
        &self,
        asking: F,
    ) -> Result<Option<String>, ProveError> {
        // Nobody but a superuser may, and nobody else could read it: see the view's documentation.
        self.activities("ALTER SYSTEM SET track_activities = on", "on").await?;
        self.client.batch_execute("BEGIN; LOCK TABLE public.payments IN ACCESS EXCLUSIVE MODE").await?;
        let watched = async {
            let seen = timeout(WAITING, self.waiting()).await;
            self.client.batch_execute("ROLLBACK").await.map(|()| seen)
        };
        let (seen, _) = futures_util::future::join(watched, asking).await;
        self.activities("ALTER SYSTEM RESET track_activities", "off").await?;
        Ok(seen?.ok().transpose()?)
    }

    /// The statement that waits for payments.
    async fn waiting(&self) -> Result<String, tokio_postgres::Error> {
        let query = "SELECT query FROM pg_stat_activity
            WHERE wait_event_type = 'Lock' AND query ~* 'from payments' AND pid <> pg_backend_pid() LIMIT 1";
        loop {
            self.client.batch_execute("SELECT pg_stat_clear_snapshot()").await?;
            if let Some(row) = self.client.query_opt(query, &[]).await? {
                return row.try_get(0);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Changes whether Postgres tells what its sessions do, and waits until it has noticed.
    async fn activities(&self, change: &str, until: &str) -> Result<(), ProveError> {
        self.client.batch_execute(change).await?;
        let noticed = async {
            loop {
                self.client.batch_execute("SELECT pg_reload_conf()").await?;
                let shown: String = self.client.query_one("SHOW track_activities", &[]).await?.try_get(0)?;
                if shown == until {
                    return Result::<(), tokio_postgres::Error>::Ok(());
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        // Where it was on all the time it stays on, and that is as good.
        match timeout(WAITING, noticed).await {
            Ok(noticed) => Ok(noticed?),
            Err(_) => Ok(()),
        }
    }
}

/// The victims' rows, hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<String>);

impl Fingerprint {
    /// What has changed since.
    pub(crate) fn changed(&self, now: &Self) -> Option<Leak> {
        let tables = TABLES.iter().zip(self.0.iter().zip(&now.0));
        let changed: Vec<&str> =
            tables.filter(|(_, (before, after))| before != after).map(|(table, _)| *table).collect();
        (!changed.is_empty()).then(|| Leak {
            kind: LeakKind::Write,
            evidence: format!("rows of other tenants changed in {}", changed.join(", ")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_hash_names_its_table() {
        let before = Fingerprint(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let after = Fingerprint(vec!["a".to_owned(), "x".to_owned(), "c".to_owned()]);
        assert_eq!(before.changed(&before), None);
        let leak = before.changed(&after).unwrap();
        assert_eq!(leak.kind, LeakKind::Write);
        assert!(leak.evidence.contains("beneficiaries"), "{}", leak.evidence);
    }
}
