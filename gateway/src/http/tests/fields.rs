//! A model of the storage: a plain list of names and values.

use super::h1_request;
use crate::http::{Known, RequestHead};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Add(&'static str, String),
    Append(&'static str, String),
    Remove(&'static str),
    Set(&'static str, String),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a",
        "b",
        "server",
        "set-cookie",
        "x-forwarded-for",
        "x-envoy-foo",
        "x-envoy-bar",
        "te",
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let value = "[a-z]{0,3}";
    prop_oneof![
        (name(), value).prop_map(|(name, value)| Step::Add(name, value)),
        (name(), value).prop_map(|(name, value)| Step::Append(name, value)),
        name().prop_map(Step::Remove),
        (name(), value).prop_map(|(name, value)| Step::Set(name, value)),
    ]
}

type Model = Vec<(String, String)>;

fn model(list: &mut Model, step: &Step) {
    let first = |list: &Model, name: &str| list.iter().position(|(n, _)| n == name);
    match step {
        Step::Add(name, value) => list.push(((*name).into(), value.clone())),
        Step::Remove(name) => list.retain(|(n, _)| n != name),
        Step::Set(name, value) => match first(list, name) {
            None => list.push(((*name).into(), value.clone())),
            Some(at) => {
                list[at].1.clone_from(value);
                let mut seen = false;
                list.retain(|(n, _)| n != name || !std::mem::replace(&mut seen, true));
            }
        },
        Step::Append(name, value) => match first(list, name) {
            Some(at) if *name != "set-cookie" => {
                let mut all: Vec<String> = list
                    .iter()
                    .filter(|(n, _)| n == name)
                    .map(|(_, v)| v.clone())
                    .collect();
                all.push(value.clone());
                list[at].1 = all.join(",");
                let mut seen = false;
                list.retain(|(n, _)| n != name || !std::mem::replace(&mut seen, true));
            }
            Some(_) | None => list.push(((*name).into(), value.clone())),
        },
    }
}

fn apply(head: &mut RequestHead, step: &Step) {
    match step {
        Step::Add(name, value) => head.fields_mut().add(name, value.as_bytes()),
        Step::Append(name, value) => head.append(name, value.as_bytes()),
        Step::Remove(name) => head.remove(name),
        Step::Set(name, value) => head.set(name, value.as_bytes()),
    }
}

proptest! {
    #[test]
    fn edits_are_those_of_a_plain_list(
        start in prop::collection::vec((name(), "[a-z]{0,3}"), 0..6),
        steps in prop::collection::vec(step(), 0..12),
    ) {
        let mut text = "GET / HTTP/1.1|Host: h".to_owned();
        let mut list: Model = Vec::new();
        for (name, value) in &start {
            text.push_str(&format!("|{}: {value}", name.to_uppercase()));
            list.push(((*name).into(), value.clone()));
        }
        let mut head = h1_request(&text);
        for step in &steps {
            apply(&mut head, step);
            model(&mut list, step);
        }
        let shown: Model = head
            .headers()
            .map(|(n, v)| (String::from_utf8(n.to_vec()).unwrap(), String::from_utf8(v.to_vec()).unwrap()))
            .collect();
        prop_assert_eq!(&shown, &list);
        for name in ["a", "server", "set-cookie", "x-envoy-foo", "te", "z"] {
            let expected = list.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_bytes());
            prop_assert_eq!(head.header(name), expected);
            let known = Known::classify(name.as_bytes());
            if !known.text().is_empty() {
                prop_assert_eq!(head.get(known), expected);
            }
            let all: Vec<&str> = list.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
            let joined = head.header_joined(name).map(|v| String::from_utf8(v.into_owned()).unwrap());
            prop_assert_eq!(joined, expected.map(|_| all.join(",")));
        }
        prop_assert_eq!(head.fields().len(), list.len());
        // What is written parses as the same fields.
        let again = h1_request(super::to_h1(&head).trim_end_matches('|'));
        prop_assert_eq!(again.headers().count(), list.len());
    }
}
