//! The state machine alone: the same conversation in all pieces it can arrive in, and replies that do not belong.

use proptest::prelude::*;

use super::*;
use crate::proxy::statements::Statement;

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &i32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

fn frames(parts: &[(u8, &[u8])]) -> Vec<u8> {
    parts.iter().flat_map(|(tag, body)| frame(*tag, body)).collect()
}

const OWN: &[(u8, &[u8])] = &[(b'V', b"\0\0\0\0"), (b'Z', b"I")];

/// An exchange between two sides that speak in pieces.
#[derive(Default)]
struct Table {
    from_client: BytesMut,
    to_client: BytesMut,
    from_server: BytesMut,
    to_server: BytesMut,
    prepared: Prepared,
    planned: Planned,
}

impl Table {
    fn sides(&mut self) -> Sides<'_> {
        let Self { from_client, to_client, from_server, to_server, prepared, planned } = self;
        Sides { from_client, to_client, from_server, to_server, prepared, planned }
    }

    /// The client says this, its tenant being known; what reaches the server.
    fn client(&mut self, exchange: &mut Exchange, said: &[u8]) -> Vec<u8> {
        self.from_client.extend_from_slice(said);
        while exchange.client(&mut self.sides()).unwrap() == Step::Context {
            exchange.context_given();
        }
        self.to_server.split().to_vec()
    }

    /// Postgres says this; what reaches the client.
    fn server(&mut self, exchange: &mut Exchange, said: &[u8]) -> Vec<u8> {
        self.from_server.extend_from_slice(said);
        while let Step::Ready(status) = exchange.server(&mut self.sides()).unwrap() {
            if status == Status::Idle {
                exchange.next_transaction();
            }
        }
        self.to_client.split().to_vec()
    }
}

/// One side speaks, then the other.
struct Turn {
    client: Vec<u8>,
    server: Vec<u8>,
    /// What must have reached the client after the server spoke.
    reaches_client: Vec<u8>,
}

fn turn(client: &[(u8, &[u8])], server: &[(u8, &[u8])]) -> Turn {
    let shown: Vec<_> = server.iter().filter(|(tag, _)| *tag != b'A').copied().collect();
    Turn { client: frames(client), server: frames(server), reaches_client: frames(&shown) }
}

/// A transaction of each kind, one after the other on one lease.
fn script() -> Vec<Turn> {
    let long = vec![b'x'; 700];
    vec![
        turn(
            &[(b'Q', b"SELECT 1\0")],
            &[(b'T', b"cols"), (b'D', &long), (b'A', b"note"), (b'C', b"SELECT 1\0"), (b'Z', b"I")],
        ),
        turn(&[(b'Q', b"begin isolation level serializable\0")], &[(b'C', b"BEGIN\0"), (b'Z', b"T")]),
        turn(
            &[(b'P', b"\0SELECT\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")],
            &[(b'1', b""), (b'2', b""), (b'D', &long), (b'C', b"SELECT 1\0"), (b'Z', b"T")],
        ),
        turn(&[(b'Q', b"COPY t FROM STDIN\0")], &[(b'G', b"\0\0\0")]),
        turn(&[(b'd', &long), (b'd', b"y"), (b'c', b"")], &[(b'C', b"COPY 2\0"), (b'Z', b"T")]),
        turn(&[(b'Q', b"COMMIT\0")], &[(b'C', b"COMMIT\0"), (b'Z', b"I")]),
        turn(
            &[(b'P', b"\0COPY\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")],
            &[(b'1', b""), (b'2', b""), (b'G', b"\0\0\0")],
        ),
        turn(&[(b'd', b"z"), (b'c', b""), (b'S', b"")], &[(b'E', b"fields"), (b'Z', b"I")]),
    ]
}

fn expected(replies: &[(u8, &[u8])]) -> Expected {
    let mut expected = Expected::default();
    expected.expect(replies.iter().map(|(tag, _)| match tag {
        b'Z' => Reply::Idle,
        tag => Reply::Context(*tag),
    }));
    expected
}

/// Plays the script, cutting what either side says into pieces of these sizes.
fn play(cuts: &[usize]) {
    let mut exchange = Exchange::new(Expected::default());
    let mut cuts = cuts.iter().copied().cycle();
    let mut table = Table::default();
    for Turn { client, server, reaches_client } in script() {
        let (mut rest, mut reached) = (client.as_slice(), vec![]);
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = later;
            reached.extend(table.client(&mut exchange, piece));
        }
        assert_eq!((reached, table.from_client.len()), (client, 0));
        let (mut rest, mut reached) = (server.as_slice(), vec![]);
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = later;
            reached.extend(table.server(&mut exchange, piece));
        }
        assert_eq!((reached, table.from_server.len(), table.to_server.len()), (reaches_client, 0, 0));
    }
    assert!(exchange.is_quiet() && !exchange.keeps_connection());
}

#[test]
fn a_conversation_in_whole_messages() {
    play(&[usize::MAX]);
}

proptest! {
    #[test]
    fn a_conversation_is_the_same_in_any_pieces(cuts in proptest::collection::vec(1_usize..40, 1..60)) {
        play(&cuts);
    }
}

#[test]
fn nothing_of_a_client_passes_before_its_context_is_accepted() {
    let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
    table.from_client.extend_from_slice(&frame(b'Q', b"SELECT 1\0"));
    assert_eq!(exchange.client(&mut table.sides()), Ok(Step::Context));
    *exchange.context_given() = expected(OWN);
    for own in OWN {
        assert_eq!(exchange.client(&mut table.sides()), Ok(Step::Wait));
        assert!(table.to_server.is_empty());
        assert_eq!(table.server(&mut exchange, &frames(&[*own])), b"");
    }
    assert_eq!(table.client(&mut exchange, b""), frame(b'Q', b"SELECT 1\0"));
}

#[test]
fn a_refused_context_is_told_as_postgres_said_it() {
    let (mut exchange, mut table) = (Exchange::new(expected(OWN)), Table::default());
    let refusal = frame(b'E', b"CRF002\0\0");
    for piece in [&refusal[..3], &refusal[3..7]] {
        table.from_server.extend_from_slice(piece);
        assert_eq!(exchange.server(&mut table.sides()), Ok(Step::Wait));
    }
    table.from_server.extend_from_slice(&refusal[7..]);
    assert_eq!(exchange.server(&mut table.sides()), Err(Broken::Context));
    assert_eq!((&exchange.refusal()[..], table.to_client.len()), (&b"CRF002\0\0"[..], 0));
}

/// A statement's text and its name on server connections.
fn statement(text: &[u8]) -> (Vec<u8>, String) {
    let body = [text, b"\0\0\0"].concat();
    let name = Statement::new(&body).name.to_string();
    (body, name)
}

const DONE: &[(u8, &[u8])] = &[(b'2', b""), (b'D', b"row"), (b'C', b"SELECT 1\0"), (b'Z', b"I")];

#[test]
fn a_prepared_statement_follows_its_client_to_another_connection() {
    let (body, name) = statement(b"SELECT $1");
    let bind = |name: &str| [b"\0", name.as_bytes(), b"\0\0\0\0\0\0\0"].concat();
    let mut table = Table::default();
    let mut exchange = Exchange::new(Expected::default());
    let parse = [b"mine\0", &body[..]].concat();
    let prepares: Vec<(u8, Vec<u8>)> = vec![
        (b'C', [b"S", name.as_bytes(), b"\0"].concat()),
        (b'P', [name.as_bytes(), b"\0", &body].concat()),
    ];
    let prepares = frames(&prepares.iter().map(|(tag, body)| (*tag, &body[..])).collect::<Vec<_>>());
    let sent = table.client(&mut exchange, &frames(&[(b'P', &parse), (b'D', b"Smine\0"), (b'S', b"")]));
    let described = frames(&[(b'D', &[b"S", name.as_bytes(), b"\0"].concat()[..]), (b'S', b"")]);
    assert_eq!(sent, [&prepares[..], &described].concat());
    let shown = frames(&[(b'1', b""), (b't', b"types"), (b'T', b"cols"), (b'Z', b"I")]);
    let heard = table.server(&mut exchange, &[&frame(b'3', b"")[..], &shown].concat());
    assert_eq!(heard, shown);
    assert!(exchange.is_quiet() && !exchange.keeps_connection());
    let run = frames(&[(b'B', &bind("mine")), (b'E', b"\0\0\0\0\0"), (b'S', b"")]);
    let runs = frames(&[(b'B', &bind(&name)), (b'E', b"\0\0\0\0\0"), (b'S', b"")]);
    assert_eq!(table.client(&mut exchange, &run), runs, "it is there");
    assert_eq!(table.server(&mut exchange, &frames(DONE)), frames(DONE));
    // Another connection, in all pieces it can arrive in.
    for cut in [1, 2, 7, 1000] {
        (exchange, table.planned) = (Exchange::new(Expected::default()), Planned::default());
        let sent: Vec<u8> = run.chunks(cut).flat_map(|piece| table.client(&mut exchange, piece)).collect();
        assert_eq!(sent, [&prepares[..], &runs].concat());
        let replies = [frames(&[(b'3', b""), (b'1', b"")]), frames(DONE)].concat();
        let heard: Vec<u8> =
            replies.chunks(cut).flat_map(|piece| table.server(&mut exchange, piece)).collect();
        assert_eq!(heard, frames(DONE));
    }
    // Prepared again by another of its clients: nothing is sent, and the answer is in its place.
    table.prepared = Prepared::default();
    let sent = table.client(&mut exchange, &[frames(&[(b'P', &parse)]), run].concat());
    assert_eq!(sent, runs);
    assert_eq!(table.server(&mut exchange, &frames(DONE)), [frames(&[(b'1', b"")]), frames(DONE)].concat());
    // Closed: for the client, not for the connection.
    let closed = table.client(&mut exchange, &frames(&[(b'C', b"Smine\0"), (b'S', b"")]));
    assert_eq!(closed, frame(b'S', b""));
    assert_eq!(table.server(&mut exchange, &frame(b'Z', b"I")), frames(&[(b'3', b""), (b'Z', b"I")]));
    assert!(table.prepared.get(b"mine").is_none() && table.planned.has(Statement::new(&body).name));
}

#[test]
fn an_error_takes_back_what_is_skipped() {
    let (body, name) = statement(b"SELEC");
    let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
    let (old, _) = statement(b"SELECT 1");
    table.prepared.put(b"old", Statement::new(&old)).unwrap();
    let parse = [b"new\0", &body[..]].concat();
    let said =
        frames(&[(b'P', &parse), (b'C', b"Sold\0"), (b'P', b"\0x\0\0\0"), (b'B', b"\0\0\0\0\0\0\0\0")]);
    table.client(&mut exchange, &said);
    let error = frame(b'E', b"C42601\0\0");
    assert_eq!(table.server(&mut exchange, &[&frame(b'3', b"")[..], &error].concat()), error);
    assert!(table.prepared.get(b"new").is_none() && table.prepared.get(b"old").is_some());
    assert!(table.prepared.unnamed.is_none() && !table.planned.has(Statement::new(&body).name), "{name}");
    // The rest of the batch goes nowhere; its Sync does.
    assert_eq!(
        table.client(&mut exchange, &frames(&[(b'E', b"\0\0\0\0\0"), (b'Q', b"SELECT 1\0"), (b'S', b"")])),
        frame(b'S', b"")
    );
    assert_eq!(table.server(&mut exchange, &frame(b'Z', b"I")), frame(b'Z', b"I"));
    assert!(exchange.is_quiet());
}

#[test]
fn reject_pg_statement_bytes_and_a_name_that_is_taken() {
    let long =
        [b"large\0", &vec![b' '; limits::PG_STATEMENT_BYTES + limits::PG_NAME_BYTES][..], b"\0\0\0"].concat();
    let (body, _) = statement(b"SELECT 1");
    let twice = [b"old\0", &body[..]].concat();
    for (parse, code) in [(&twice, "C42P05"), (&long, "C54000")] {
        let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
        table.prepared.put(b"old", Statement::new(&body)).unwrap();
        let sent = table.client(&mut exchange, &frames(&[(b'P', parse), (b'S', b"")]));
        assert!(sent.starts_with(b"B") && sent.ends_with(&frame(b'S', b"")), "{code}");
        let heard = table.server(&mut exchange, &frames(&[(b'E', b"C26000\0\0"), (b'Z', b"I")]));
        let heard = String::from_utf8_lossy(&heard).into_owned();
        assert!(heard.contains(code) && !heard.contains("C26000"), "{heard}");
        assert!(exchange.is_quiet() && table.prepared.get(b"old").is_some());
    }
}

/// The unnamed statement a client prepared is its own, also where another session has prepared one since.
#[test]
fn the_unnamed_statement_follows_its_client_too() {
    let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
    let parse = frames(&[(b'P', b"\0SELECT 1\0\0\0"), (b'S', b"")]);
    assert_eq!(table.client(&mut exchange, &parse), parse);
    table.server(&mut exchange, &frames(&[(b'1', b""), (b'Z', b"I")]));
    assert!(!exchange.keeps_connection());
    let run = frames(&[(b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")]);
    exchange = Exchange::new(Expected::default());
    let sent = table.client(&mut exchange, &run);
    assert_eq!(sent, [frames(&[(b'P', b"\0SELECT 1\0\0\0")]), run.clone()].concat());
    assert_eq!(table.server(&mut exchange, &[frames(&[(b'1', b"")]), frames(DONE)].concat()), frames(DONE));
    // A simple query drops it, here as there: what another left is not run in its place.
    table.client(&mut exchange, &frame(b'Q', b"SELECT 1\0"));
    table.server(&mut exchange, &frames(&[(b'C', b"SELECT 1\0"), (b'Z', b"I")]));
    exchange = Exchange::new(Expected::default());
    assert_eq!(table.client(&mut exchange, &run), [frames(&[(b'C', b"S\0")]), run].concat());
}

#[test]
fn replies_out_of_turn_end_the_connection() {
    let bind = frames(&[(b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0"), (b'S', b"")]);
    for wrong in [
        frame(b'1', b""),
        frame(b'3', b""),
        frames(&[(b'3', b""), (b'Z', b"I")]),
        frames(&[(b'3', b""), (b'2', b""), (b'2', b"")]),
    ] {
        let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
        table.client(&mut exchange, &bind);
        table.from_server.extend_from_slice(&wrong);
        assert_eq!(
            exchange.server(&mut table.sides()),
            if wrong == frame(b'3', b"") { Ok(Step::Wait) } else { Err(Broken::Server) },
            "{wrong:?}"
        );
    }
}

/// What Postgres says before it has answered our own words exactly never reaches a client.
#[test]
fn a_stale_reply_ends_the_connection_instead_of_reaching_a_client() {
    for stale in [
        frame(b'Z', b"I"),
        frame(b'D', b"another tenant's row"),
        frame(b'C', b"SELECT 1\0"),
        frame(b'T', b"columns"),
        frame(b'1', b""),
        frames(&[(b'V', b""), (b'C', b"SELECT 1\0")]),
        frames(&[(b'V', b""), (b'V', b"")]),
        frames(&[(b'V', b""), (b'Z', b"T")]),
    ] {
        let (mut exchange, mut table) = (Exchange::new(expected(OWN)), Table::default());
        table.from_server.extend_from_slice(&stale);
        let step = exchange.server(&mut table.sides());
        assert_eq!((step, table.to_client.len()), (Err(Broken::Server), 0), "{stale:?}");
    }
}

#[test]
fn a_reset_must_be_answered_as_a_reset() {
    let asked_for = |locks: bool, replies: &[(u8, &[u8])], good: bool| {
        let (mut asked, mut expected) = (BytesMut::new(), Expected::default());
        prologue::clean(&mut asked, &mut expected, locks);
        let (mut exchange, mut table) = (Exchange::new(expected), Table::default());
        table.from_server.extend_from_slice(&frames(replies));
        let step = exchange.server(&mut table.sides());
        assert_eq!(step.is_ok() && exchange.is_quiet(), good, "{replies:?}");
        assert!(table.to_client.is_empty());
    };
    let check = |replies: &[(u8, &[u8])], good| asked_for(false, replies, good);
    let reset: [(u8, &[u8]); 11] = [
        (b'C', b"RESET\0"),
        (b'C', b"RESET\0"),
        (b'C', b"DEALLOCATE ALL\0"),
        (b'C', b"CLOSE CURSOR ALL\0"),
        (b'C', b"UNLISTEN\0"),
        (b'T', b""),
        (b'D', b""),
        (b'C', b"SELECT 1\0"),
        (b'C', b"DISCARD TEMP\0"),
        (b'C', b"DISCARD SEQUENCES\0"),
        (b'Z', b"I"),
    ];
    check(&reset, true);
    asked_for(true, &reset, false);
    let unlock: [(u8, &[u8]); 3] = [(b'T', b""), (b'D', b""), (b'C', b"SELECT 1\0")];
    asked_for(true, &[&reset[..10], &unlock[..], &reset[10..]].concat(), true);
    check(&[&[(b'S', &b"TimeZone\0UTC\0"[..])], &reset[..]].concat(), true);
    // Any reply missing, doubled, or another's.
    for at in 0..reset.len() {
        check(&[&reset[..at], &reset[at + 1..]].concat(), false);
        check(&[&reset[..at], &[(b'E', &b"no"[..])], &reset[at + 1..]].concat(), false);
        check(&[&reset[..at], &[(b'Z', &b"T"[..])], &reset[at + 1..]].concat(), false);
    }
    check(&[&[(b'Z', &b"I"[..])], &reset[..]].concat(), false);
}

/// A client that cancels reads that it has, also where its request came while the connection was made ready for it.
#[test]
fn a_cancel_that_hits_our_own_words_is_the_clients_answer() {
    let told = |expected: Expected| {
        let (mut exchange, mut table) = (Exchange::new(expected), Table::default());
        table.from_server.extend_from_slice(&frame(b'E', b"SERROR\0C57014\0\0"));
        (exchange.server(&mut table.sides()), exchange.refusal().to_vec())
    };
    let (mut out, mut clean) = (BytesMut::new(), Expected::default());
    prologue::clean(&mut out, &mut clean, true);
    for expected in [clean, expected(OWN)] {
        assert_eq!(told(expected), (Err(Broken::Context), b"SERROR\0C57014\0\0".to_vec()));
    }
}

/// What is said in place of a client's DEALLOCATE is cancelled: one answer, and the conversation goes on.
#[test]
fn an_error_in_place_of_a_clients_call_is_its_answer() {
    let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
    let (body, _) = statement(b"SELECT 1");
    table.prepared.put(b"mine", Statement::new(&body)).unwrap();
    table.client(&mut exchange, &frame(b'Q', b"DEALLOCATE mine\0"));
    let answer = frames(&[(b'E', b"C57014\0\0"), (b'Z', b"I")]);
    assert_eq!(table.server(&mut exchange, &answer), answer);
    assert!(exchange.is_quiet());
    let next = frame(b'Q', b"SELECT 1\0");
    assert_eq!(table.client(&mut exchange, &next), next);
}

#[test]
fn nobody_authenticates_or_replicates_in_a_transaction() {
    for tag in [b'R', b'K', b'v', b'W'] {
        let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
        table.from_server.extend_from_slice(&frame(tag, b"\0\0\0\0"));
        let step = exchange.server(&mut table.sides());
        assert_eq!((step, table.to_client.len()), (Err(Broken::Server), 0), "{}", char::from(tag));
    }
    for tag in [b'p', b'!', 0, b'R'] {
        let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
        table.from_client.extend_from_slice(&frame(tag, b""));
        assert_eq!(exchange.client(&mut table.sides()), Err(Broken::Client));
        assert!(table.to_server.is_empty());
    }
}

#[test]
fn reject_pg_name_bytes() {
    for (len, fits) in [(limits::PG_NAME_BYTES, true), (limits::PG_NAME_BYTES + 1, false)] {
        let name = vec![b'n'; len];
        for (tag, body) in [
            (b'P', [&name[..], b"\0SELECT 1\0\0\0"].concat()),
            (b'B', [&name[..], b"\0\0\0\0\0\0\0\0"].concat()),
            (b'B', [b"\0", &name[..], b"\0\0\0\0\0\0\0"].concat()),
            (b'D', [b"S", &name[..], b"\0"].concat()),
        ] {
            let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
            exchange.context_given();
            table.from_client.extend_from_slice(&frame(tag, &body));
            let step = exchange.client(&mut table.sides());
            assert_eq!(step, if fits { Ok(Step::Wait) } else { Err(Broken::Client) }, "{}", char::from(tag));
        }
    }
}

/// Closing what is known to be prepared sends nothing to Postgres, and is answered after what Postgres still owes.
#[test]
fn reject_pg_pipeline() {
    let (mut exchange, mut table) = (Exchange::new(Expected::default()), Table::default());
    let run = frames(&[(b'B', b"\0\0\0\0\0\0\0\0"), (b'E', b"\0\0\0\0\0")]);
    table.client(&mut exchange, &run);
    let more = limits::PG_PIPELINE + 10;
    let sent = table.client(&mut exchange, &frames(&[(b'C', b"Pnone\0")]).repeat(more));
    let flush = frame(b'H', b"");
    assert!(sent.ends_with(&flush));
    assert_eq!(exchange.owed.len(), limits::PG_PIPELINE);
    assert_eq!(table.client(&mut exchange, b""), b"", "asked for once");
    let said =
        [frames(&[(b'3', b""), (b'2', b""), (b'C', b"SELECT 1\0")]), frames(&[(b'3', b"")]).repeat(20)]
            .concat();
    table.server(&mut exchange, &said);
    assert!(!table.client(&mut exchange, b"").is_empty(), "it goes on");
}

/// Both sides say messages of the protocol in any order, with names that are taken and free.
fn scripts() -> impl Strategy<Value = Vec<u8>> {
    let name = proptest::sample::select(vec![&b""[..], b"a", b"b", b"t", b"ringfence.none"]);
    let client = (proptest::sample::select(&b"QPBDECSHFdcfX"[..]), name, any::<bool>()).prop_map(
        |(tag, name, kind)| {
            let kind: &[u8] = if kind { b"S" } else { b"P" };
            let body = match tag {
                b'Q' => [b"DEALLOCATE ", name, b"\0"].concat(),
                b'P' if kind == b"S" && name != b"a" => {
                    [name, b"\0SELECT ringfence.token_use($1, $2)\0\0\0"].concat()
                }
                b'P' => [name, b"\0SELECT ", name, b"\0\0\0"].concat(),
                b'B' => [b"\0", name, b"\0\0\0\0\0\0\0"].concat(),
                b'D' | b'C' => [kind, name, b"\0"].concat(),
                _ => b"\0\0\0\0\0".to_vec(),
            };
            (0_u8, frame(tag, &body))
        },
    );
    let server = proptest::sample::select(&b"123tTnDCCIsEGHdcNSAZZZ"[..]).prop_map(|tag| {
        let body: &[u8] = match tag {
            b'Z' => b"I",
            b'C' => b"DEALLOCATE\0",
            _ => b"",
        };
        (2_u8, frame(tag, body))
    });
    let ask = Just((3_u8, vec![]));
    proptest::collection::vec(prop_oneof![6 => client, 6 => server, 1 => ask], 0..60).prop_map(|said| {
        let pieces = |(who, said): (u8, Vec<u8>)| match said.as_slice() {
            [] => vec![who],
            said => said
                .chunks(60)
                .flat_map(|piece| [&[(u8::try_from(piece.len()).unwrap() << 2) | who], piece].concat())
                .collect(),
        };
        said.into_iter().flat_map(pieces).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn whatever_both_sides_say_stays_in_order(script in scripts()) {
        converse(&script);
    }
}
