//! Paths that two readers read differently (RFC 3986 section 6): one decides, the other serves.

use super::tokens::expect;
use crate::{
    attack::{Family, attack, control},
    attacker::Attacker,
    outcome::Outcome,
    scene::VICTIM,
};

pub(super) const FAMILY: Family = Family {
    name: "path tricks",
    attacks: &[
        attack!(
            "path-dot-segments",
            "a viewer walks to the report by dot segments",
            Routing,
            Together,
            |a| {
                viewer(
                    a,
                    &[
                        "/payments/../reports/volume",
                        "/payments/./../reports/volume",
                        "/./reports/volume",
                        "/payments/..;/reports/volume",
                        "/../reports/volume",
                    ],
                )
                .await
            }
        ),
        attack!("path-encoded-slash", "separators that are decoded late", Routing, Together, |a| {
            viewer(
                a,
                &[
                    "/payments%2f..%2freports%2fvolume",
                    "/payments/..%2freports/volume",
                    "/reports%2fvolume",
                    "/payments%5c..%5creports",
                    "/reports\\volume",
                ],
            )
            .await
        }),
        attack!("path-double-encoding", "escapes of escapes", Routing, Together, |a| {
            viewer(
                a,
                &[
                    "/payments/%252e%252e/reports/volume",
                    "/reports%252fvolume",
                    "/%2572eports/volume",
                    "/payments/%2e%2e/reports/volume",
                ],
            )
            .await
        }),
        attack!("path-matrix", "parameters in segments", Routing, Together, |a| {
            viewer(
                a,
                &[
                    "/reports;x=y/volume",
                    "/reports/volume;.css",
                    "/payments;/../reports/volume",
                    "/reports/volume%3b",
                ],
            )
            .await
        }),
        attack!("path-case", "other case, trailing and double slashes", Authorization, Together, |a| {
            viewer(
                a,
                &[
                    "/Reports/volume",
                    "/reports/VOLUME",
                    "/reports/volume/",
                    "//reports/volume",
                    "/reports//volume",
                ],
            )
            .await
        }),
        attack!(
            "path-characters",
            "NUL, fragments, overlong UTF-8 and other bytes no path has",
            Routing,
            Together,
            |a| {
                viewer(
                    a,
                    &[
                        "/reports/volume%00",
                        "/reports/volume#x",
                        "/%c0%afreports/volume",
                        "/reports/volume%0d%0aX:y",
                        "/reports/volume%",
                        "/reports/\u{ff56}olume",
                        "*",
                        "reports/volume",
                    ],
                )
                .await
            }
        ),
        attack!(
            "path-encoded-id",
            "the victim's payment under other spellings of its id",
            Backend,
            Together,
            |a| {
                let id = a.target.payment.to_string();
                let simple = a.target.payment.simple().to_string();
                let mut tries = Vec::new();
                for id in [
                    id.to_uppercase(),
                    simple,
                    format!("%7b{id}%7d"),
                    format!("urn:uuid:{id}"),
                    id.replace('-', "%2d"),
                    format!("{id}%20"),
                ] {
                    tries.push(Outcome::of(&a.send(a.mine("GET", &format!("/payments/{id}"))).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!(
            "path-tenant",
            "the victim's tenant in the path, as other APIs have it",
            Authorization,
            Together,
            |a| {
                let mut tries = Vec::new();
                for path in [
                    format!("/t/{VICTIM}/payments"),
                    format!("/{VICTIM}/payments"),
                    format!("/payments/{VICTIM}"),
                    format!("/tenants/{VICTIM}/payments"),
                    format!("/payments?tenant_id={VICTIM}"),
                    format!("/payments?tenant={VICTIM}&X-Tenant-Id={VICTIM}"),
                ] {
                    tries.push(Outcome::of(&a.send(a.mine("GET", &path)).await));
                }
                Outcome::furthest(tries)
            }
        ),
        attack!("path-methods", "methods beside those that are routed", Authorization, Alone, |a| {
            let path = format!("/payments/{}", a.target.payment);
            let mut tries = Vec::new();
            for method in ["HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "get", "GETT", "PROPFIND"] {
                tries.push(Outcome::of(&a.send(a.mine(method, &path)).await));
            }
            Outcome::furthest(tries)
        }),
    ],
    controls: &[
        control!("the own payment under an escaped spelling of its id", |a| {
            let id = a.own.payment.to_string();
            let escaped =
                format!("%{:02x}{}", id.bytes().next().unwrap_or(b'0'), id.get(1..).unwrap_or_default());
            expect(&a.send(a.mine("GET", &format!("/payments/{escaped}"))).await, 200)
        }),
        control!("the report, for an administrator", |a| expect(
            &a.send(a.mine("GET", "/reports/volume")).await,
            200
        )),
    ],
};

/// Own requests of a viewer, who may not see the report, at the own and at the victim's address.
async fn viewer(a: &Attacker, paths: &[&str]) -> Outcome {
    let token = a.token("viewer");
    let mut tries = Vec::new();
    for path in paths {
        let own = a.mine("GET", path).without("authorization").bearer(&token);
        tries.push(Outcome::of(&a.send(own).await));
        tries.push(Outcome::of(&a.send(a.theirs("GET", path).bearer(&token)).await));
    }
    Outcome::furthest(tries)
}
