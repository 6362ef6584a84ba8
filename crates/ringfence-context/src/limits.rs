//! Every bound on what others make the plane take, believe, keep or answer, in one place: on sizes and counts of what they send,
//! on how long and how far from its time what they show is good, on how much of it waits, is kept or is told at once.
//!
//! Each has a test named after it, `reject_` and its name (`cargo xtask tidy` looks for it): what is at the bound passes, and
//! one more does not. How often something is renewed and how much of one's own is kept bounds nobody's input, and stands where it
//! is done.

/// Longest token accepted, in bytes of its compact form.
pub const TOKEN_BYTES: usize = 4096;

/// Deepest nesting of a JSON document in a token.
pub const JSON_DEPTH: usize = 8;

/// Deepest nesting of a JSON document at the policy service: its attribute values nest, each level in two.
pub const AVP_JSON_DEPTH: usize = 64;

/// Largest request to the policy service, in bytes.
pub const AVP_REQUEST_BYTES: usize = 1024 * 1024;

/// Most requests in one batch of decisions.
pub const AVP_BATCH_REQUESTS: usize = 30;

/// Most principals, and most resources, among the entities of one decision.
pub const AVP_ENTITIES: usize = 100;

/// Most entities of one decision, of all types: what is above each of them is worked out before anything is decided.
pub const AVP_ENTITIES_TOTAL: usize = 1000;

/// Most entities above one entity.
pub const AVP_ANCESTORS: usize = 99;

/// How far the time of a signed request may be from ours, in seconds.
pub const AVP_CLOCK_SKEW_SECONDS: u64 = 300;

/// Most headers a signature of a request may cover.
pub const AVP_SIGNED_HEADERS: usize = 32;

/// Most entities directly above a stored entity.
pub const ENTITY_PARENTS: usize = 64;

/// Most entities above a stored entity, directly or not.
pub const ENTITY_ANCESTORS: usize = 256;

/// Most entities below a stored entity that one write of it may rewrite.
pub const ENTITY_DESCENDANTS: usize = 1000;

/// Most references to other entities in a stored entity's attributes.
pub const ENTITY_REFERENCES: usize = 64;

/// Largest body that says one entity, in bytes.
pub const ENTITY_BYTES: usize = 64 * 1024;

/// Most entities a tenant stores.
pub const ENTITIES_STORED: u64 = 100_000;

/// Most stored entities that one decision may reach.
pub const ENTITIES_REACHED: usize = 512;

/// Deepest nesting of a JSON document at the AuthZEN endpoints and of an entity.
pub const AUTHZEN_JSON_DEPTH: usize = 32;

/// Most evaluations of one AuthZEN request.
pub const AUTHZEN_EVALUATIONS: usize = 100;

/// Most members of one `properties` or `context` object.
pub const AUTHZEN_PROPERTIES: usize = 256;

/// Brackets within each other in a policy, template or schema in Cedar's syntax, and `if`s in one policy.
pub const POLICY_NESTING: usize = 64;

/// Work that a tenant's policies make long, under way or waiting at once for one tenant.
pub const BULKHEAD_WAITING: usize = 64;

/// Changes of one account's stores at the policy service, under way or waiting at once on a node.
pub const AVP_WRITES_WAITING: usize = 64;

/// Longest type, id or name at the AuthZEN endpoints, in bytes.
pub const AUTHZEN_NAME_BYTES: usize = 512;

/// Most results of one page of a search.
pub const AUTHZEN_PAGE: usize = 100;

/// Most candidates that one page of a search decides about.
pub const AUTHZEN_CANDIDATES: usize = 500;

/// Longest token of an issuer that is none of the plane's, in bytes of its compact form.
pub const FOREIGN_TOKEN_BYTES: usize = 16 * 1024;

/// Longest life of a token of such an issuer, in seconds (Amazon Cognito gives up to a day).
pub const FOREIGN_TOKEN_LIFE_SECONDS: u64 = 86_400;

/// How far such a token's `iat` or `nbf` may lie in the future, in seconds: its issuer's clock is not ours.
pub const FOREIGN_CLOCK_SKEW_SECONDS: u64 = 60;

/// Most keys such an issuer may publish.
pub const ISSUER_KEYS: usize = 64;

/// Largest document such an issuer may publish, in bytes: its metadata, or its keys.
pub const ISSUER_DOCUMENT_BYTES: usize = 128 * 1024;

/// Deepest nesting of such a document.
pub const ISSUER_JSON_DEPTH: usize = 16;

/// Most such issuers whose keys are kept, on one node.
pub const ISSUERS_KEPT: usize = 1000;

/// For how long such an issuer's keys are used before they are fetched again, in seconds.
pub const ISSUER_KEYS_SECONDS: u64 = 600;

/// How soon after an issuer was asked it is asked again, in seconds: for a key that is not known, or after a failure.
pub const ISSUER_AGAIN_SECONDS: u64 = 30;

/// How long an issuer may take to answer, in seconds, with all that belongs to one fetching of its keys.
pub const ISSUER_ANSWER_SECONDS: u64 = 5;

/// Most requests that wait for one issuer's answer.
pub const ISSUER_WAITING: usize = 64;

/// Most issuers asked at once, on one node.
pub const ISSUERS_ASKED: usize = 32;

/// Most issuers asked at once for one account.
pub const ISSUERS_ASKED_FOR_ONE: usize = 4;

/// Most roles a token may carry.
pub const TOKEN_ROLES: usize = 64;

/// How far a token's `iat` or `nbf` may lie in the future, in seconds (clocks of nodes differ).
pub const CLOCK_SKEW_SECONDS: u64 = 5;

/// Longest life of an access token that is accepted, in seconds, whatever its issuer wrote.
pub const ACCESS_TOKEN_LIFE_SECONDS: u64 = 3600;

/// Longest life of a job token, in seconds, whatever the settings say.
pub const JOB_TOKEN_LIFE_SECONDS: u64 = 7 * 86_400;

/// Most revoked tokens of a tenant beside which a job of its is revoked: every node keeps them until they would have expired, and
/// reads them all again with each further one, while it learns nothing of other tenants.
pub const REVOKED_TOKENS: usize = 10_000;

/// Longest life of a `Txn-Token` minted for one request, in seconds.
pub const TXN_TOKEN_LIFE_SECONDS: u64 = 15;

/// Longest life of a `Txn-Token` that opens a database session by token exchange, in seconds.
pub const DATABASE_TOKEN_LIFE_SECONDS: u64 = 300;

/// How long a database context stays valid inside Postgres, in seconds.
pub const DATABASE_CONTEXT_LIFE_SECONDS: u64 = 30;

/// How much further than that the end of a context may be from Postgres' own time, in seconds: its clock is not the guard's.
pub const DATABASE_CONTEXT_SKEW_SECONDS: u64 = 30;

/// Longest life of a login to a tenant's own database, in seconds, whatever its tier says.
pub const CREDENTIAL_LIFE_SECONDS: u64 = 3600;

/// Most logins to its own database that a tenant has at a time.
pub const CREDENTIALS: usize = 8;

/// Most connections of one such login at a time. With [`CREDENTIALS`], what a tenant takes of a server's `max_connections`.
pub const CREDENTIAL_CONNECTIONS: usize = 4;

/// Most databases that are migrated at once.
pub const MIGRATIONS_AT_ONCE: usize = 32;

/// Largest HTTP request head, in bytes: one that has not ended by then is refused.
pub const REQUEST_HEAD_BYTES: usize = 32 * 1024;

/// Longest request target, in bytes.
pub const REQUEST_TARGET_BYTES: usize = 4096;

/// Largest request body the gateway forwards, in bytes.
pub const REQUEST_BODY_BYTES: usize = 1024 * 1024;

/// Largest form the issuer reads, in bytes.
pub const FORM_BYTES: usize = 16 * 1024;

/// Longest password, in bytes; a longer one is refused before it is hashed.
pub const PASSWORD_BYTES: usize = 256;

/// Most refusals a backend tells the plane at once.
pub const REFUSALS_TOLD: usize = 100;

/// Longest detail of a refusal that a backend tells, in bytes.
pub const REFUSAL_DETAIL_BYTES: usize = 256;

/// Most requests a backend remembers, to tell copies of them, of the last seconds.
pub const REQUESTS_REMEMBERED: usize = 1_000_000;

/// Largest start-up packet the guard reads, in bytes (Postgres itself: 10,000).
pub const PG_STARTUP_BYTES: usize = 10_000;

/// Largest password message the guard reads, in bytes.
pub const PG_PASSWORD_BYTES: usize = 2 * TOKEN_BYTES + 64;

/// Most bytes that Postgres may say until the guard is logged in to it (libpq, of one message: 30,000).
pub const PG_LOGIN_BYTES: usize = 256 * 1024;

/// Largest message a database client may send, in bytes.
pub const PG_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// Largest statement that a database client may prepare under a name, in bytes.
pub const PG_STATEMENT_BYTES: usize = 256 * 1024;

/// Most bytes of prepared statements that the guard keeps for one client.
pub const PG_STATEMENTS_BYTES: usize = 4 * 1024 * 1024;

/// Most statements that one client may have prepared at a time.
pub const PG_STATEMENTS: usize = 4096;

/// Most statements kept prepared on one server connection; the one prepared first is closed for a further one.
pub const PG_STATEMENTS_PER_CONNECTION: usize = 512;

/// Most messages of a client in the extended protocol that Postgres has not answered; further ones wait.
pub const PG_PIPELINE: usize = 8192;

/// Longest name of a prepared statement or portal, in bytes (Postgres itself looks at the first 63).
pub const PG_NAME_BYTES: usize = 256;

/// Longest reason given for a change of policies, in bytes.
pub const POLICY_REASON_BYTES: usize = 500;

/// Most proposals of a tenant that nobody has decided yet.
pub const POLICY_PROPOSALS: u64 = 50;

/// How far away a time to publish at may be, in seconds.
pub const POLICY_SCHEDULE_SECONDS: u64 = 366 * 24 * 3600;

/// Most versions, proposals or audit entries shown at once.
pub const POLICY_PAGE: u32 = 500;

/// Most rows of one truth table.
pub const POLICY_TEST_ROWS: usize = 2_000;

/// Most proposals evaluated beside the serving stores at once, on one node.
pub const POLICY_SHADOWS: usize = 32;

/// Most questions for which a policy store that is moved is compared with its copy.
pub const STORE_MOVE_QUESTIONS: u64 = 1_000_000;

/// Longest time for which a policy store that is moved is compared with its copy, in seconds.
pub const STORE_MOVE_SECONDS: u64 = 86_400;

/// Most recorded decisions replayed for one comparison: the latest ones.
pub const POLICY_REPLAYED: usize = 20_000;

/// Most tokens of one operator.
pub const OPERATOR_TOKENS: usize = 8;
