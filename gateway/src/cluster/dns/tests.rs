//! Names resolved by a tiny DNS server.

use super::*;
use hickory_resolver::proto::{
    op::{Message, MessageType, ResponseCode},
    rr::{RData, Record, rdata},
};
use std::net::UdpSocket;

/// What the server says.
#[derive(Clone)]
struct Zone {
    code: ResponseCode,
    a: Vec<[u8; 4]>,
    aaaa: Vec<u16>,
    ttl: u32,
    questions: Vec<String>,
    silent: bool,
}

impl Default for Zone {
    fn default() -> Self {
        Self {
            code: ResponseCode::NoError,
            a: Vec::new(),
            aaaa: Vec::new(),
            ttl: 60,
            questions: Vec::new(),
            silent: false,
        }
    }
}

/// A DNS server that answers every question from its zone. Its thread ends with the process.
fn serve(zone: Zone) -> (SocketAddr, Arc<Mutex<Zone>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    let zone = Arc::new(Mutex::new(zone));
    let shared = Arc::clone(&zone);
    std::thread::spawn(move || {
        let mut buffer = [0; 1500];
        while let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let question = Message::from_vec(&buffer[..length]).unwrap();
            if let Some(answer) = answer(&mut shared.lock(), &question) {
                socket.send_to(&answer, client).unwrap();
            }
        }
    });
    (address, zone)
}

fn answer(zone: &mut Zone, question: &Message) -> Option<Vec<u8>> {
    let query = question.queries.first().unwrap().clone();
    let (name, kind) = (query.name().clone(), query.query_type());
    zone.questions.push(format!("{name} {kind}"));
    if zone.silent {
        return None;
    }
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.message_type = MessageType::Response;
    message.metadata.recursion_available = true;
    message.metadata.response_code = zone.code;
    message.add_query(query);
    let records: Vec<RData> = if kind == RecordType::A {
        let addresses = zone.a.iter();
        addresses
            .map(|&[a, b, c, d]| RData::A(rdata::A::new(a, b, c, d)))
            .collect()
    } else {
        assert_eq!(kind, RecordType::AAAA);
        let addresses = zone.aaaa.iter();
        addresses
            .map(|&last| RData::AAAA(rdata::AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)))
            .collect()
    };
    let ttl = zone.ttl;
    message.add_answers(
        records
            .into_iter()
            .map(|data| Record::from_rdata(name.clone(), ttl, data)),
    );
    Some(message.to_vec().unwrap())
}

fn resolver(server: SocketAddr) -> Arc<Dns> {
    Dns::new(Some(server), tokio::runtime::Handle::current()).unwrap()
}

async fn ask(zone: Zone, name: &str) -> Answer {
    let (server, _) = serve(zone);
    lookup(&resolver(server).resolver, name).await
}

fn v4(last: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, last])
}

#[tokio::test]
async fn addresses_come_with_their_time_to_live() {
    let zone = Zone {
        a: vec![[192, 0, 2, 1], [192, 0, 2, 2]],
        aaaa: vec![1],
        ttl: 40,
        ..Zone::default()
    };
    let Answer::Found {
        addresses,
        others,
        ttl,
    } = ask(zone, "backend.example").await
    else {
        panic!("not found");
    };
    assert_eq!(addresses, [v4(1), v4(2)]);
    assert_eq!(others, [IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])]);
    assert!((30..=40).contains(&ttl.as_secs()), "{ttl:?}");
}

#[tokio::test]
async fn ipv6_is_used_where_there_is_no_ipv4() {
    let zone = Zone {
        aaaa: vec![7],
        ..Zone::default()
    };
    let Answer::Found { addresses, .. } = ask(zone, "backend.example").await else {
        panic!("not found");
    };
    assert_eq!(addresses, ["2001:db8::7".parse::<IpAddr>().unwrap()]);
}

#[tokio::test]
async fn denials_and_failures_are_told_apart() {
    let nxdomain = Zone {
        code: ResponseCode::NXDomain,
        ..Zone::default()
    };
    assert_eq!(ask(nxdomain, "gone.example").await, Answer::NotFound);
    assert_eq!(
        ask(Zone::default(), "empty.example").await,
        Answer::NotFound
    );
    for code in [ResponseCode::ServFail, ResponseCode::Refused] {
        let broken = Zone {
            code,
            ..Zone::default()
        };
        let answer = ask(broken, "broken.example").await;
        assert!(matches!(answer, Answer::Failed(_)), "{code}: {answer:?}");
    }
}

#[tokio::test]
async fn a_name_with_dots_is_asked_for_as_it_is() {
    let (server, zone) = serve(Zone {
        a: vec![[192, 0, 2, 1]],
        ..Zone::default()
    });
    lookup(&resolver(server).resolver, "a.example").await;
    let mut asked = zone.lock().questions.clone();
    asked.sort();
    let asked: Vec<_> = asked.iter().map(|one| one.to_ascii_lowercase()).collect();
    assert_eq!(asked, ["a.example. a", "a.example. aaaa"]);
}

#[tokio::test]
async fn localhost_needs_no_server() {
    let (server, zone) = serve(Zone {
        silent: true,
        ..Zone::default()
    });
    let answer = lookup(&resolver(server).resolver, "localhost").await;
    let Answer::Found { addresses, .. } = answer else {
        panic!("{answer:?}");
    };
    assert!(
        addresses.contains(&IpAddr::from([127, 0, 0, 1])),
        "{addresses:?}"
    );
    assert_eq!(zone.lock().questions.len(), 0);
}

#[tokio::test]
async fn watchers_of_one_name_share_its_questions() {
    let (server, zone) = serve(Zone {
        a: vec![[192, 0, 2, 1]],
        ..Zone::default()
    });
    let dns = resolver(server);
    let (one, two) = (dns.watch("shared.example"), dns.watch("shared.example"));
    for name in [&one, &two] {
        let mut resolution = name.resolution.clone();
        let known = resolution.wait_for(|now| now.addresses.is_some()).await;
        assert_eq!(known.unwrap().addresses.as_deref(), Some(&[v4(1)][..]));
    }
    assert_eq!(zone.lock().questions.len(), 2);
    assert_eq!(dns.names.lock().len(), 1);
    drop((one, two));
    assert!(
        dns.names.lock().is_empty(),
        "names nobody watches are forgotten"
    );
}

#[tokio::test]
async fn a_changed_hosts_file_is_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hosts");
    std::fs::write(&path, "192.0.2.1 backend.example\n").unwrap();
    let mut hosts = hosts::follow(&tokio::runtime::Handle::current(), path.clone());
    let mut resolver = resolver("127.0.0.1:1".parse().unwrap()).resolver.clone();
    resolver.set_hosts(Arc::clone(&hosts.borrow_and_update()));
    let Answer::Found { addresses, .. } = lookup(&resolver, "backend.example").await else {
        panic!("not found");
    };
    assert_eq!(addresses, [v4(1)]);
    std::fs::write(&path, "192.0.2.22 backend.example\n").unwrap();
    hosts.changed().await.unwrap();
    resolver.set_hosts(Arc::clone(&hosts.borrow_and_update()));
    let Answer::Found { addresses, .. } = lookup(&resolver, "backend.example").await else {
        panic!("not found");
    };
    assert_eq!(addresses, [v4(22)]);
}
