//! Who gets where: every combination of server name, host, client certificate, session ticket and
//! protocol, with each kind of listener next to one that demands a certificate.
//!
//! `table.txt` has the outcome of each. `rows.rs` has the combinations, and the rules from which the
//! table is written: `GWANMUN_MATRIX=write` writes it anew, the diff is the review. Each is tried
//! with TLS 1.2 and 1.3, and must end the same.

mod ask;
mod rows;
mod scene;

use ask::Client;
use parking_lot::Mutex;
use rows::{Kind, Outcome, Row, Shown, Sni, Ticket};
use rustls::{
    SupportedProtocolVersion,
    version::{TLS12, TLS13},
};
use scene::Scene;
use std::{collections::BTreeSet, path::PathBuf};

fn table() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/behaviour/matrix/table.txt")
}

/// The table as the rules have it.
fn written() -> String {
    let mut text = format!(
        "# {:<16}{:<8}{:<9}{:<8}{:<11}{:<8}outcome: status, backend, session, protocol, what the backend is told of the client\n",
        "A is", "sni", "host", "shows", "ticket", "offers"
    );
    for row in rows::all() {
        text.push_str(&format!("{row}{}\n", rows::expected(&row)));
    }
    text
}

#[test]
fn the_table_is_what_the_rules_say() {
    let text = written();
    if std::env::var_os("GWANMUN_MATRIX").is_some_and(|value| value == "write") {
        std::fs::write(table(), &text).unwrap();
    }
    let committed = std::fs::read_to_string(table()).unwrap();
    for (line, (have, want)) in committed.lines().zip(text.lines()).enumerate() {
        assert_eq!(have, want, "line {}", line + 1);
    }
    assert_eq!(committed.lines().count(), text.lines().count());
    assert!(rows::all().len() >= 500, "{}", rows::all().len());
}

#[test]
fn nobody_gets_where_they_do_not_belong() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_all().build().unwrap()
    };
    let committed = std::fs::read_to_string(table()).unwrap();
    let scene = Scene::start();
    // Sessions from before the change, then the change.
    let tries: Vec<(Row, Client, &SupportedProtocolVersion)> = rows::all()
        .into_iter()
        .flat_map(|row| [&TLS12, &TLS13].map(|version| (row, Client::new(version), version)))
        .collect();
    let earlier = |row: &Row| matches!(row.ticket, Ticket::Removed | Ticket::Revoked);
    runtime().block_on(async {
        for (row, client, _) in tries.iter().filter(|(row, ..)| earlier(row)) {
            client.prepare(&scene, row).await;
        }
    });
    scene.withdraw();
    runtime().block_on(withdrawn(&scene));

    let failures = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for part in tries.chunks(tries.len().div_ceil(4)) {
            let (scene, failures, committed) = (&scene, &failures, &committed);
            scope.spawn(move || {
                runtime().block_on(async {
                    for (row, client, version) in part {
                        if !earlier(row) {
                            client.prepare(scene, row).await;
                        }
                        let outcome = client.attempt(scene, row).await;
                        assert!(!is_bypass(row, &outcome), "{row}{outcome}");
                        if !committed.contains(&format!("\n{row}{outcome}\n")) {
                            let version = version.version;
                            failures
                                .lock()
                                .insert(format!("{row}{outcome} with {version:?}"));
                        }
                    }
                });
            });
        }
    });
    let failures = failures.into_inner();
    let lines: Vec<String> = failures.into_iter().collect();
    assert!(
        lines.is_empty(),
        "not as in the table:\n{}",
        lines.join("\n")
    );
}

/// Waits until every policy A that trusted the authority does not any more.
async fn withdrawn(scene: &Scene) {
    for kind in Kind::ALL {
        let row = Row {
            kind: *kind,
            sni: Sni::A,
            host: rows::Host::Own,
            shown: Shown::Revoked,
            ticket: Ticket::Nothing,
            offer: rows::Offer::Http1,
        };
        let began = std::time::Instant::now();
        loop {
            let outcome = Client::new(&TLS12).former(scene, &row).await;
            let still = matches!(&outcome, Outcome::Answered { client, .. } if client == "former");
            if !still {
                break;
            }
            assert!(
                began.elapsed() < crate::support::DEADLINE,
                "{kind}: {outcome}"
            );
        }
    }
}

/// Whether a backend was reached that the client has no right to, whatever the table says.
fn is_bypass(row: &Row, outcome: &Outcome) -> bool {
    let Outcome::Answered {
        backend: Some(backend),
        resumed,
        client,
        ..
    } = outcome
    else {
        return false;
    };
    let shows = |wanted: Shown| {
        let own = *resumed && row.ticket == Ticket::Own && rows::right(row.sni) == wanted;
        own || (!resumed && row.shown == wanted)
    };
    let allowed = match (row.kind, backend.as_str()) {
        (_, "b") => row.sni == Sni::B && shows(Shown::B) && client == "b",
        (Kind::Mutual, "a") => row.sni != Sni::B && shows(Shown::A) && client == "a",
        (Kind::Tcp, "a") => row.sni != Sni::B && shows(Shown::A),
        (Kind::Default | Kind::PerPort, "a") => {
            row.sni != Sni::B && (shows(Shown::A) || row.shown == Shown::Revoked)
        }
        (Kind::Optional, "a") => {
            row.sni != Sni::B
                && (client == "-" && row.shown == Shown::Nothing && !resumed
                    || client == "a" && shows(Shown::A))
        }
        (Kind::Simple | Kind::Insecure, "a") => row.sni != Sni::B && client == "-",
        (Kind::Unverified, "a") => {
            let showed = row.shown != Shown::Nothing || *resumed;
            row.sni != Sni::B && client == "-" && showed
        }
        (Kind::Passthrough, "through") => row.sni != Sni::B,
        _ => false,
    };
    !allowed
}
