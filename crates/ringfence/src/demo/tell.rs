//! What the demo prints and writes.

use std::path::Path;

use miette::{IntoDiagnostic, Result};
use ringfence_control::{Plane, private_file};

use super::{DEMO, Demo, DemoTenant, DemoUser, seed::Seed};
use crate::call::{Caller, Running};

impl Demo {
    /// Makes the demo's tenants where they are not there yet, writes `demo.json`, and prints what to try.
    pub(crate) async fn ready(dir: &Path, running: &Running) -> Result<()> {
        let operator = Plane::operator_token(dir).into_diagnostic()?.reveal().clone();
        let seed = Seed { caller: Caller::new(), running, operator };
        let mut demo = match Self::load(dir) {
            Some(demo) => demo.moved_to(running),
            None => seed.all().await?,
        };
        seed.keys(&mut demo).await?;
        let text = serde_json::to_string_pretty(&demo).into_diagnostic()?;
        private_file::write(&dir.join(DEMO), &text).into_diagnostic()?;
        demo.print(dir);
        Ok(())
    }

    /// The same demo at the addresses of this run.
    fn moved_to(mut self, running: &Running) -> Self {
        self.gateway.clone_from(&running.base_url);
        self.api = format!("http://{}", running.api);
        self.guard = format!("postgres://{}/{}", running.guard, running.database);
        let suffix = running.gateway.rsplit_once(':').map_or("", |(_, port)| port);
        for tenant in &mut self.tenants {
            tenant.issuer = format!("{}/t/{}", running.base_url, tenant.id);
            tenant.host = format!("{}.localhost:{suffix}", tenant.id);
        }
        self
    }

    fn print(&self, dir: &Path) {
        let Self { gateway, api, guard, tenants, .. } = self;
        let dir = dir.display();
        say!("Ringfence runs with three tenants on one payments app.\n");
        say!(
            "  gateway and issuers  {gateway}\n  API                  {api}\n  guard                {guard}"
        );
        say!("  everything else      {dir}/{DEMO}\n");
        for tenant in tenants {
            let names: Vec<String> = tenant
                .users
                .iter()
                .map(|user| format!("{} ({})", user.username, user.roles.join(", ")))
                .collect();
            say!("  {:<8} http://{:<24} {}", tenant.id, tenant.host, names.join("  "));
        }
        let (Some(own), Some(other)) = (tenants.first(), tenants.get(1)) else { return };
        let Some(user) = own.users.first() else { return };
        print_tries(&dir.to_string(), gateway, own, other, user);
        say!("\nCtrl-C stops everything.");
    }
}

fn print_tries(dir: &str, gateway: &str, own: &DemoTenant, other: &DemoTenant, user: &DemoUser) {
    let ringfence =
        std::env::current_exe().map_or_else(|_| "ringfence".to_owned(), |path| path.display().to_string());
    let (id, name, host) = (&own.id, &user.username, &own.host);
    say!("\nTry:\n");
    say!("  TOKEN=$({ringfence} token --dir {dir} --tenant {id} --user {name})\n");
    say!("  # {name} of {id} reads a payment of {id}");
    say!(
        "  curl -i -H \"Host: {host}\" -H \"Authorization: Bearer $TOKEN\" {gateway}/payments/{}\n",
        own.payment
    );
    say!("  # ... reaches for a payment of {}: not yours looks like not there", other.id);
    say!(
        "  curl -i -H \"Host: {host}\" -H \"Authorization: Bearer $TOKEN\" {gateway}/payments/{}\n",
        other.payment
    );
    say!("  # ... claims to be {} in a header, which the gateway does not believe", other.id);
    say!(
        "  curl -i -H \"Host: {host}\" -H \"Authorization: Bearer $TOKEN\" -H \"X-Tenant-Id: {}\" {gateway}/payments\n",
        other.id
    );
    say!("  # every layer's verdict on one of them: take `ringfence-reference` from its answer");
    say!("  {ringfence} explain --dir {dir} <reference>");
}
