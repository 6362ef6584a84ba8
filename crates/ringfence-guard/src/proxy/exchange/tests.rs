//! The state machine alone: the same conversation in all pieces it can arrive in, and replies that do not belong.

use proptest::prelude::*;

use super::*;

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag][..], &i32::try_from(body.len() + 4).unwrap().to_be_bytes(), body].concat()
}

fn frames(parts: &[(u8, &[u8])]) -> Vec<u8> {
    parts.iter().flat_map(|(tag, body)| frame(*tag, body)).collect()
}

const CONTEXT: &[u8] = b"<context>";
const OWN: &[(u8, &[u8])] = &[(b'2', b""), (b'D', b"\0\0"), (b'C', b"SELECT 1\0")];

/// One side speaks, then the other.
struct Turn {
    client: Vec<u8>,
    server: Vec<u8>,
    /// What must have reached the server after the client spoke.
    reaches_server: Vec<u8>,
    /// What must have reached the client after the server spoke.
    reaches_client: Vec<u8>,
}

fn turn(opens: bool, client: &[(u8, &[u8])], server: &[(u8, &[u8])]) -> Turn {
    let (client, shown) = (frames(client), server.iter().filter(|(tag, _)| *tag != b'A').copied());
    let shown: Vec<_> = shown.collect();
    let own = if opens { frames(OWN) } else { vec![] };
    Turn {
        reaches_server: [if opens { CONTEXT } else { b"" }, &client].concat(),
        reaches_client: frames(&shown),
        server: [own, frames(server)].concat(),
        client,
    }
}

/// A transaction of each kind, one after the other on one lease.
fn script() -> Vec<Turn> {
    let long = vec![b'x'; 700];
    vec![
        turn(
            true,
            &[(b'Q', b"SELECT 1\0")],
            &[(b'T', b"cols"), (b'D', &long), (b'A', b"note"), (b'C', b"SELECT 1\0"), (b'Z', b"I")],
        ),
        turn(false, &[(b'Q', b"begin isolation level serializable\0")], &[(b'C', b"BEGIN\0"), (b'Z', b"T")]),
        turn(
            true,
            &[(b'P', b"\0SELECT\0\0\0"), (b'B', &long), (b'E', b"\0\0\0\0\0"), (b'S', b"")],
            &[(b'1', b""), (b'2', b""), (b'C', b"SELECT 0\0"), (b'Z', b"T")],
        ),
        turn(false, &[(b'Q', b"COPY t FROM STDIN\0")], &[(b'G', b"\0\0\0")]),
        turn(false, &[(b'd', &long), (b'd', b"y"), (b'c', b"")], &[(b'C', b"COPY 2\0"), (b'Z', b"T")]),
        turn(false, &[(b'Q', b"COMMIT\0")], &[(b'C', b"COMMIT\0"), (b'Z', b"I")]),
        turn(
            true,
            &[(b'P', b"\0COPY\0\0\0"), (b'B', b""), (b'E', b""), (b'S', b"")],
            &[(b'1', b""), (b'2', b""), (b'G', b"\0\0\0")],
        ),
        turn(false, &[(b'd', b"z"), (b'c', b""), (b'S', b"")], &[(b'E', b"fields"), (b'Z', b"I")]),
    ]
}

fn expected(replies: &[(u8, &[u8])]) -> Expected {
    let mut expected = Expected::default();
    expected.expect(replies.iter().map(|(tag, _)| Reply::Context(*tag)));
    expected
}

/// Plays the script, cutting what either side says into pieces of these sizes.
fn play(cuts: &[usize]) {
    let mut exchange = Exchange::new(Expected::default());
    let mut cuts = cuts.iter().copied().cycle();
    let [mut from_client, mut to_server, mut from_server, mut to_client] = <[BytesMut; 4]>::default();
    for Turn { client, server, reaches_server, reaches_client } in script() {
        let mut rest = client.as_slice();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = later;
            from_client.extend_from_slice(piece);
            while exchange.client(&mut from_client, &mut to_server).unwrap() == Step::Context {
                to_server.extend_from_slice(CONTEXT);
                *exchange.context_given() = expected(OWN);
            }
        }
        assert_eq!((&to_server[..], from_client.len()), (&reaches_server[..], 0));
        to_server.clear();
        let mut rest = server.as_slice();
        while !rest.is_empty() {
            let (piece, later) = rest.split_at(cuts.next().unwrap().min(rest.len()));
            rest = later;
            from_server.extend_from_slice(piece);
            while let Step::Ready(status) =
                exchange.server(&mut from_server, &mut to_client, &mut to_server).unwrap()
            {
                if status == Status::Idle {
                    exchange.next_transaction();
                    assert!(exchange.is_quiet());
                }
            }
        }
        assert_eq!((&to_client[..], from_server.len(), to_server.len()), (&reaches_client[..], 0, 0));
        to_client.clear();
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
fn a_refused_call_is_ended_with_a_sync_and_answered_once() {
    let mut exchange = Exchange::new(Expected::default());
    let [mut from_client, mut to_server, mut from_server, mut to_client] = <[BytesMut; 4]>::default();
    from_client.extend_from_slice(&frame(b'Q', b"SELECT 1\0"));
    assert_eq!(exchange.client(&mut from_client, &mut to_server), Ok(Step::Context));
    *exchange.context_given() = expected(OWN);
    assert_eq!(exchange.client(&mut from_client, &mut to_server), Ok(Step::Wait));
    to_server.clear();
    from_server.extend_from_slice(&frames(&[(b'2', b""), (b'E', b"RF002")]));
    assert_eq!(exchange.server(&mut from_server, &mut to_client, &mut to_server), Ok(Step::Wait));
    assert_eq!(&to_server[..], frame(b'S', b""));
    from_server.extend_from_slice(&frame(b'Z', b"I"));
    let step = exchange.server(&mut from_server, &mut to_client, &mut to_server);
    assert_eq!(step, Ok(Step::Ready(Status::Idle)));
    assert_eq!(&to_client[..], frames(&[(b'E', b"RF002"), (b'Z', b"I")]));
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
        frames(&[(b'2', b""), (b'C', b"SELECT 1\0")]),
        frames(&[(b'2', b""), (b'2', b"")]),
        frames(&[(b'2', b""), (b'D', b""), (b'Z', b"I")]),
    ] {
        let mut exchange = Exchange::new(expected(OWN));
        let [mut from_server, mut to_client, mut to_server] = <[BytesMut; 3]>::default();
        from_server.extend_from_slice(&stale);
        let step = exchange.server(&mut from_server, &mut to_client, &mut to_server);
        assert_eq!((step, to_client.len()), (Err(Broken::Server), 0), "{stale:?}");
    }
}

#[test]
fn a_reset_must_be_answered_as_a_reset() {
    let check = |replies: &[(u8, &[u8])], good: bool| {
        let (mut asked, mut expected) = (BytesMut::new(), Expected::default());
        prologue::clean(&mut asked, &mut expected);
        let mut exchange = Exchange::new(expected);
        let [mut from_server, mut to_client, mut to_server] = <[BytesMut; 3]>::default();
        from_server.extend_from_slice(&frames(replies));
        let step = exchange.server(&mut from_server, &mut to_client, &mut to_server);
        assert_eq!(step.is_ok() && exchange.is_quiet(), good, "{replies:?}");
        assert!(to_client.is_empty());
    };
    let reset: [(u8, &[u8]); 14] = [
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
        (b'3', b""),
        (b'1', b""),
        (b'Z', b"I"),
    ];
    check(&reset, true);
    check(&[&[(b'S', &b"TimeZone\0UTC\0"[..])], &reset[..]].concat(), true);
    // Any reply missing, doubled, or another's.
    for at in 0..reset.len() {
        check(&[&reset[..at], &reset[at + 1..]].concat(), false);
        check(&[&reset[..at], &[(b'E', &b"no"[..])], &reset[at + 1..]].concat(), false);
        check(&[&reset[..at], &[(b'Z', &b"T"[..])], &reset[at + 1..]].concat(), false);
    }
    check(&[&[(b'Z', &b"I"[..])], &reset[..]].concat(), false);
}

/// A client is told that its setting is wrong only where Postgres says so, and not where Postgres goes down meanwhile.
#[test]
fn what_postgres_did_not_accept_is_told_from_postgres_going_down() {
    let told = |fields: &[u8], piece: usize| {
        let (mut asked, mut expected) = (BytesMut::new(), Expected::default());
        prologue::settings(&mut asked, &mut expected, &[("TimeZone", "UTC".to_owned())]);
        let mut exchange = Exchange::new(expected);
        let [mut from_server, mut to_client, mut to_server] = <[BytesMut; 3]>::default();
        let mut last = Ok(Step::Wait);
        for piece in frames(&[(b'1', b""), (b'2', b""), (b'E', fields)]).chunks(piece) {
            from_server.extend_from_slice(piece);
            last = exchange.server(&mut from_server, &mut to_client, &mut to_server);
        }
        assert!(to_client.is_empty());
        last
    };
    for piece in [1, 7, 100] {
        let wrong = b"SERROR\0VERROR\0C22023\0Minvalid value\0\0";
        assert_eq!(told(wrong, piece), Err(Broken::Settings));
        let down = b"SFATAL\0VFATAL\0C57P01\0MC22 is not its code\0\0";
        assert_eq!(told(down, piece), Err(Broken::Server));
    }
}

#[test]
fn nobody_authenticates_or_replicates_in_a_transaction() {
    for tag in [b'R', b'K', b'v', b'W'] {
        let mut exchange = Exchange::new(Expected::default());
        let [mut from_server, mut to_client, mut to_server] = <[BytesMut; 3]>::default();
        from_server.extend_from_slice(&frame(tag, b"\0\0\0\0"));
        let step = exchange.server(&mut from_server, &mut to_client, &mut to_server);
        assert_eq!((step, to_client.len()), (Err(Broken::Server), 0), "{}", char::from(tag));
    }
    for tag in [b'p', b'!', 0, b'R'] {
        let mut exchange = Exchange::new(Expected::default());
        let [mut from_client, mut to_server] = <[BytesMut; 2]>::default();
        from_client.extend_from_slice(&frame(tag, b""));
        assert_eq!(exchange.client(&mut from_client, &mut to_server), Err(Broken::Client));
        assert!(to_server.is_empty());
    }
}
