//! `explain`, `config` and `status`, of a running gateway and offline.

use crate::support::{
    Directory, Gwanmun, Network, backend, gateway_api_route, gwanmun, istio_gateway,
    virtual_service,
};

fn directory() -> Directory {
    let directory = Directory::new();
    directory.write("backend.yaml", &backend("one", &Network::new().address(1)));
    directory.write("route.yaml", &gateway_api_route("a.example.com", "one"));
    directory.write(
        "istio.yaml",
        &(istio_gateway(8080) + &virtual_service("vs", "b.example.com", "one")),
    );
    directory
}

/// Standard output of a command asked both ways, which have to agree.
fn ask(directory: &Directory, running: &Gwanmun, command: &[&str]) -> String {
    let admin = running.own_address("admin interface");
    let with = |more: [&str; 2]| {
        let mut arguments = command.to_vec();
        arguments.extend(more);
        gwanmun(&arguments)
    };
    let (online, offline) = (
        with(["--admin", &admin]),
        with(["--config", directory.path().to_str().unwrap()]),
    );
    assert_eq!(
        (online.code, &online.out),
        (offline.code, &offline.out),
        "{command:?}: {online:?} {offline:?}"
    );
    online.out
}

#[test]
fn config_prints_the_tables_of_istioctl() {
    let directory = directory();
    let running = Gwanmun::run(&directory, &[]);
    let routes = ask(&directory, &running, &["config", "routes"]);
    assert!(routes.starts_with("NAME "), "{routes}");
    assert!(routes.contains("b.example.com:8080"), "{routes}");
    assert!(routes.contains("vs.default"), "{routes}");
    assert!(routes.contains("route.default (HTTPRoute)"), "{routes}");
    let clusters = ask(&directory, &running, &["config", "clusters"]);
    assert!(clusters.starts_with("SERVICE FQDN"), "{clusters}");
    assert!(
        clusters.contains("one.default.svc.cluster.local"),
        "{clusters}"
    );
    let listeners = ask(&directory, &running, &["config", "listeners"]);
    assert!(listeners.starts_with("ADDRESSES"), "{listeners}");
    let endpoints = ask(&directory, &running, &["config", "endpoints"]);
    assert!(endpoints.contains(":9000"), "{endpoints}");
    assert!(endpoints.contains("HEALTHY"), "{endpoints}");
    let all = ask(&directory, &running, &["config", "all"]);
    assert!(
        all.contains("SERVICE FQDN") && all.contains("RESOURCE NAME"),
        "{all}"
    );
    let json: serde_json::Value =
        serde_json::from_str(&ask(&directory, &running, &["config", "all", "-o", "json"])).unwrap();
    assert!(json.as_array().unwrap().len() > 5, "{json}");
}

#[test]
fn status_prints_conditions() {
    let directory = directory();
    let running = Gwanmun::run(&directory, &[]);
    let admin = running.own_address("admin interface");
    let text = gwanmun(&["status", "--admin", &admin]);
    assert_eq!(text.code, 0, "{text:?}");
    let programmed = |line: &str| {
        line.starts_with("Gateway ") && line.contains("Programmed") && line.contains("True")
    };
    assert!(text.out.lines().any(programmed), "{}", text.out);
    let json = gwanmun(&["status", "--admin", &admin, "-o", "json"]);
    let status: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    let objects = status["objects"].as_array().unwrap();
    let route = objects
        .iter()
        .find(|object| object["kind"] == "HTTPRoute")
        .unwrap();
    assert_eq!(
        route["status"]["parents"][0]["conditions"][0]["status"], "True",
        "{route}"
    );
}

#[test]
fn explain_says_which_way_a_request_takes_and_why_no_other() {
    let directory = directory();
    let running = Gwanmun::run(&directory, &[]);
    let way = ask(
        &directory,
        &running,
        &["explain", "GET", "http://a.example.com/x"],
    );
    assert!(way.contains("HTTPRoute default/route"), "{way}");
    assert!(
        way.contains("outbound|80||one.default.svc.cluster.local"),
        "{way}"
    );
    let istio = ask(
        &directory,
        &running,
        &[
            "explain",
            "GET",
            "http://b.example.com:8080/x",
            "-o",
            "json",
        ],
    );
    let istio: serde_json::Value = serde_json::from_str(&istio).unwrap();
    assert!(
        istio["route"]
            .to_string()
            .contains("VirtualService default/vs"),
        "{istio}"
    );
    let admin = running.own_address("admin interface");
    let refused = gwanmun(&[
        "explain",
        "GET",
        "http://nobody.example.com/x",
        "--admin",
        &admin,
    ]);
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(
        refused.out.contains("404 NR route_not_found"),
        "{refused:?}"
    );
}

#[test]
fn equally_specific_gateways_are_as_old_as_their_files_are_sorted() {
    let directory = Directory::new();
    let names: Vec<String> = (0..12).map(|number| format!("gw-{number:02}")).collect();
    for (position, name) in names.iter().enumerate() {
        let gateway =
            gateway_api_route("a.example.com", "one").replace("name: gw", &format!("name: {name}"));
        // The order of paths, not of names.
        directory.write(&format!("{:02}.yaml", 11 - position), &gateway);
    }
    let path = directory.path().to_str().unwrap();
    let listeners = gwanmun(&["config", "listeners", "--config", path]).out;
    let order: Vec<&str> = listeners
        .lines()
        .filter_map(|line| line.split_once("Gateway/default/")?.1.split('/').next())
        .collect();
    let expected: Vec<&str> = names.iter().rev().map(String::as_str).collect();
    assert_eq!(order, expected);
}
