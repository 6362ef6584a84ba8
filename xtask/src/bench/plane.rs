//! The plane under measurement: the release binary, set up by its own commands as an operator would.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Command, Stdio},
};

use super::{load::User, process::Process, scratch::Scratch};
use crate::run::{Outcome, root, target};

/// How many tenants there are, and users in each.
pub(super) const TENANTS: usize = 20;
pub(super) const USERS: usize = 5;

/// How what is measured is built: as it is shipped.
pub(super) const PROFILE: &str = "dist";

/// A program that was built so.
pub(super) fn built(program: &str) -> String {
    target().join(PROFILE).join(program).display().to_string()
}

/// A plane that runs.
pub(super) struct Plane {
    pub(super) process: Process,
    /// The gateway.
    pub(super) address: SocketAddr,
    /// The API.
    pub(super) api: SocketAddr,
    dir: PathBuf,
}

/// The sample app's routes, schema and policies; a rate that is out of the way.
const SETTINGS: &str = r#"routes = "routes.toml"
tenant_resource = "Book"

[listen]
gateway = "127.0.0.1:0"
api = "127.0.0.1:0"
guard = "127.0.0.1:0"

[upstream]
address = "APPLICATION"

[postgres]
database = "ledger"
app_role = "ledger_app"
tables = ["accounts", "beneficiaries", "payments"]
schema = ["LEDGER/schema.sql"]

[tiers.standard]
rate = { per_second = 1000000, burst = 1000000 }
namespace = "Ledger"
schema = "ledger.cedarschema"
policies = "ledger.cedar"

[tiers.standard.avp]
requests_per_second = 1000000
"#;

/// One more route, whose decision depends on the request and so is asked anew each time.
const ASKED_ROUTE: &str = r#"
[[route]]
method = "GET"
path = "/payments/{id}/receipt"
action = "ViewReceipt"
resource = "Payment"
facts = { copies = "query:copies" }
"#;

/// Its action, for the schema.
const ASKED_ACTION: &str = r#"
  action ViewReceipt
    appliesTo { principal: [User, Client], resource: [Payment], context: { copies?: Long } };
}
"#;

/// Its policies.
const ASKED_POLICIES: &str = r#"
@id("everyone-prints")
permit (principal, action == Ledger::Action::"ViewReceipt", resource)
when { principal in Ledger::Role::"clerk" || principal in Ledger::Role::"admin" };

@id("few-copies")
forbid (principal, action == Ledger::Action::"ViewReceipt", resource)
when { context has copies && context.copies > 3 };
"#;

impl Plane {
    /// Starts it in front of an application.
    pub(super) fn start(scratch: &Scratch, application: SocketAddr) -> Outcome<Self> {
        let ledger = root().join("examples/ledger");
        let read =
            |name: &str| fs::read_to_string(ledger.join(name)).map_err(|error| format!("{name}: {error}"));
        scratch.write("routes.toml", &(read("routes.toml")? + ASKED_ROUTE))?;
        let schema = read("policies/ledger.cedarschema")?;
        let open = schema.trim_end().strip_suffix('}').ok_or("the ledger's schema is not one namespace")?;
        scratch.write("ledger.cedarschema", &format!("{open}{ASKED_ACTION}"))?;
        scratch.write("ledger.cedar", &(read("policies/ledger.cedar")? + ASKED_POLICIES))?;
        let settings = SETTINGS
            .replace("APPLICATION", &application.to_string())
            .replace("LEDGER", &ledger.display().to_string());
        let config = scratch.write("ringfence.toml", &settings)?;
        let dir = scratch.path().join("state");
        let (config, state) = (config.display().to_string(), dir.display().to_string());
        let up = ["up", "--config", &config, "--dir", &state];
        let said = ["gateway and issuers", "API"];
        let (process, urls) = Process::start_until(&built("ringfence"), &up, said)?;
        let [address, api] = urls.map(|url| {
            let address = url.trim_start_matches("http://").parse();
            address.map_err(|_| format!("{url} is not an address"))
        });
        Ok(Self { process, address: address?, api: api?, dir })
    }

    /// Makes the tenants and their users, signs each in, and says after each tenant that it is there.
    pub(super) fn users(&self, tenants: usize, mut made: impl FnMut(usize)) -> Outcome<Vec<User>> {
        let mut users = Vec::new();
        for tenant in 0..tenants {
            let id = format!("tenant-{tenant:02}");
            self.command(&["tenant", "create", &id], None)?;
            for user in 0..USERS {
                let name = format!("user-{user}");
                let password = password()?;
                self.command(
                    &["user", "create", &name, "--tenant", &id, "--role", "clerk", "--password-stdin"],
                    Some(&password),
                )?;
                let token = self.command(
                    &["token", "--tenant", &id, "--user", &name, "--password-stdin"],
                    Some(&password),
                )?;
                users.push(User { host: self.host(tenant), token });
            }
            made(tenant);
        }
        self.check(&users)?;
        Ok(users)
    }

    /// Makes a tenant.
    pub(super) fn tenant(&self, id: &str) -> Outcome {
        self.command(&["tenant", "create", id], None).map(drop)
    }

    /// An access key of a tenant's: its id and its secret.
    pub(super) fn access_key(&self, tenant: &str) -> Outcome<(String, String)> {
        let told = self.command(&["access-key", "create", "--tenant", tenant, "--json"], None)?;
        let member = |name: &str| {
            let (_, rest) = told.split_once(&format!("\"{name}\":"))?;
            rest.split('"').nth(1).map(str::to_owned)
        };
        member("id").zip(member("secret")).ok_or_else(|| format!("{told} is no access key"))
    }

    fn host(&self, tenant: usize) -> String {
        format!("tenant-{tenant:02}.localhost:{}", self.address.port())
    }

    /// The chain is whole: it serves the right token, and refuses none, another tenant's, and an unknown route.
    fn check(&self, users: &[User]) -> Outcome {
        let (Some(first), Some(last)) = (users.first(), users.last()) else {
            return Err("no users".to_owned());
        };
        for (what, path, host, token, expected) in [
            ("a user's own tenant", "/payments/1", &first.host, Some(&first.token), "200"),
            (
                "a decision with a fact",
                "/payments/1/receipt?copies=2",
                &first.host,
                Some(&first.token),
                "200",
            ),
            ("no token", "/payments/1", &first.host, None, "401"),
            ("another tenant's token", "/payments/1", &first.host, Some(&last.token), "401"),
            (
                "a fact that is forbidden",
                "/payments/1/receipt?copies=9",
                &first.host,
                Some(&first.token),
                "403",
            ),
            ("no route", "/nowhere", &first.host, Some(&first.token), "403"),
        ] {
            let status = self.status(path, host, token)?;
            if status != expected {
                return Err(format!("the chain is not whole: {what} was answered {status}, not {expected}"));
            }
        }
        Ok(())
    }

    fn status(&self, path: &str, host: &str, token: Option<&String>) -> Outcome<String> {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{token}Connection: close\r\n\r\n");
        let mut answer = Vec::new();
        TcpStream::connect(self.address)
            .and_then(|mut stream| {
                stream.write_all(request.as_bytes())?;
                stream.read_to_end(&mut answer)
            })
            .map_err(|error| format!("the gateway does not answer: {error}"))?;
        let answer = String::from_utf8_lossy(&answer);
        Ok(answer.split(' ').nth(1).unwrap_or("nothing").to_owned())
    }

    /// Runs a command of the binary against this plane and gives what it prints.
    fn command(&self, arguments: &[&str], input: Option<&str>) -> Outcome<String> {
        let failed = |what: String| format!("ringfence {}: {what}", arguments.join(" "));
        let mut command = Command::new(built("ringfence"));
        command.args(arguments).arg("--dir").arg(&self.dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        if let (Some(mut stdin), Some(input)) = (child.stdin.take(), input) {
            stdin.write_all(input.as_bytes()).map_err(|error| failed(error.to_string()))?;
        }
        let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

/// A password nobody knows.
fn password() -> Outcome<String> {
    let mut bytes = [0_u8; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
