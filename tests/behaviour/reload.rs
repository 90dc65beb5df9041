//! A changed file is served: however it is written, and whatever else is wrong.

use crate::support::{
    Directory, Gwanmun, Network, backend, eventually, gateway_api_route, istio_gateway,
    virtual_service,
};
use std::{
    fs,
    net::TcpListener,
    os::unix::fs::symlink,
    time::{Duration, Instant},
};

const HOST: &str = "a.example.com";

/// Two backends, `one` and `two`, and a directory that routes [`HOST`] to the first.
struct Setup {
    directory: Directory,
    _backends: Gwanmun,
}

impl Setup {
    fn new() -> Self {
        let network = Network::new();
        let directory = Directory::new();
        directory.write("one.yaml", &backend("one", &network.address(1)));
        directory.write("two.yaml", &backend("two", &network.address(2)));
        let backends = Gwanmun::backends(&directory);
        directory.write("route.yaml", &gateway_api_route(HOST, "one"));
        Self {
            directory,
            _backends: backends,
        }
    }
}

/// Waits until the host is answered by a pod.
fn served_by(running: &Gwanmun, pod: &str) {
    eventually(
        pod,
        || running.get(80, HOST, "/", &[]),
        |answer| answer.is(200, &format!("\"{pod}-pod\"")),
    );
}

#[test]
fn an_edit_in_place_is_served_within_a_second() {
    let setup = Setup::new();
    let running = Gwanmun::run(&setup.directory, &[]);
    served_by(&running, "one");
    let mut times = Vec::new();
    for pod in ["two", "one", "two", "one", "two"] {
        let began = Instant::now();
        setup
            .directory
            .write("route.yaml", &gateway_api_route(HOST, pod));
        served_by(&running, pod);
        times.push(began.elapsed());
    }
    times.sort();
    assert!(times[2] < Duration::from_secs(1), "{times:?}");
}

#[test]
fn an_atomic_replacement_is_served() {
    let setup = Setup::new();
    let running = Gwanmun::run(&setup.directory, &[]);
    for pod in ["one", "two", "one"] {
        setup
            .directory
            .replace("route.yaml", &gateway_api_route(HOST, pod));
        served_by(&running, pod);
    }
}

#[test]
fn added_and_removed_files_count() {
    let setup = Setup::new();
    let running = Gwanmun::run(&setup.directory, &[]);
    served_by(&running, "one");
    setup.directory.write(
        "deep/er/more.yaml",
        &gateway_api_route("b.example.com", "two")
            .replace("name: route", "name: more")
            .replace("name: gw", "name: gw2"),
    );
    eventually(
        "the new route",
        || running.get(80, "b.example.com", "/", &[]),
        |answer| answer.is(200, "two-pod"),
    );
    setup.directory.remove("deep/er/more.yaml");
    eventually(
        "the end of it",
        || running.get(80, "b.example.com", "/", &[]),
        |answer| answer.status == 404,
    );
    served_by(&running, "one");
}

#[test]
fn a_mounted_config_map_is_followed_through_its_swaps() {
    let setup = Setup::new();
    let base = setup.directory.file("mounted");
    for (version, pod) in [("..1", "one"), ("..2", "two")] {
        fs::create_dir_all(base.join(version)).unwrap();
        fs::write(
            base.join(version).join("route.yaml"),
            gateway_api_route(HOST, pod),
        )
        .unwrap();
    }
    setup.directory.remove("route.yaml");
    symlink("..1", base.join("..data")).unwrap();
    symlink("..data/route.yaml", base.join("route.yaml")).unwrap();
    let running = Gwanmun::run(&setup.directory, &[]);
    for (version, pod) in [("..1", "one"), ("..2", "two"), ("..1", "one")] {
        symlink(version, base.join("..data_tmp")).unwrap();
        fs::rename(base.join("..data_tmp"), base.join("..data")).unwrap();
        served_by(&running, pod);
    }
}

#[test]
fn a_directory_that_is_removed_and_created_again_is_followed() {
    let setup = Setup::new();
    let routes = setup.directory.file("routes");
    let write = |pod| {
        fs::create_dir_all(&routes).unwrap();
        fs::write(routes.join("route.yaml"), gateway_api_route(HOST, pod)).unwrap();
    };
    setup.directory.remove("route.yaml");
    write("one");
    let places = [
        setup.directory.file("one.yaml"),
        setup.directory.file("two.yaml"),
        routes.clone(),
    ];
    let places: Vec<&str> = places.iter().map(|path| path.to_str().unwrap()).collect();
    let running = Gwanmun::run_on(&places, &[]);
    for pod in ["one", "two", "one"] {
        fs::remove_dir_all(&routes).unwrap();
        write(pod);
        served_by(&running, pod);
    }
    // Gone as a whole: most likely a mistake, so what it held stays in service.
    fs::remove_dir_all(&routes).unwrap();
    running.wait_error("it does not exist; what it held before stays in service");
    served_by(&running, "one");
    write("two");
    served_by(&running, "two");
}

#[test]
fn a_broken_file_keeps_its_last_good_content_and_is_reported_once() {
    let setup = Setup::new();
    let running = Gwanmun::run(&setup.directory, &[]);
    served_by(&running, "one");
    setup
        .directory
        .write("route.yaml", "apiVersion: v1\nkind: Service\nmetadata: [\n");
    let line = running.wait_error("not valid YAML");
    assert!(line.contains("route.yaml:"), "{line}");
    served_by(&running, "one");
    // Others are followed all the same, and nothing is said twice.
    setup.directory.write(
        "other.yaml",
        &gateway_api_route("b.example.com", "two")
            .replace("name: route", "name: more")
            .replace("name: gw", "name: gw2"),
    );
    eventually(
        "the other file",
        || running.get(80, "b.example.com", "/", &[]),
        |answer| answer.is(200, "two-pod"),
    );
    served_by(&running, "one");
    assert_eq!(running.count_errors("not valid YAML"), 1);
    let status = running.admin("/status");
    assert!(status.body.contains("not valid YAML"), "{status:?}");
    setup
        .directory
        .write("route.yaml", &gateway_api_route(HOST, "two"));
    served_by(&running, "two");
    let status = running.admin("/status");
    assert!(!status.body.contains("not valid YAML"), "{status:?}");
}

#[test]
fn an_object_that_is_wrong_affects_itself_alone() {
    let setup = Setup::new();
    setup.directory.write(
        "istio.yaml",
        &(istio_gateway(8080) + &virtual_service("vs", HOST, "two")),
    );
    let running = Gwanmun::run(&setup.directory, &[]);
    served_by(&running, "one");
    let istio = || running.get(8080, HOST, "/", &[]);
    eventually("the VirtualService", istio, |answer| {
        answer.is(200, "two-pod")
    });
    setup.directory.write(
        "istio.yaml",
        &(istio_gateway(8080) + &virtual_service("vs", HOST, "nobody")),
    );
    eventually("its failure", istio, |answer| answer.status == 503);
    running.wait_error("VirtualService default/vs");
    served_by(&running, "one");
}

#[test]
fn a_port_taken_at_a_reload_is_reported_and_everything_else_stays() {
    let setup = Setup::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let map = format!("8081:{}", taken.local_addr().unwrap().port());
    let mut running = Gwanmun::run(&setup.directory, &["--map-port", &map]);
    served_by(&running, "one");
    setup.directory.write("istio.yaml", &istio_gateway(8081));
    let line = running.wait_error("cannot be bound");
    assert!(line.contains("Gateway default/istio-gw"), "{line}");
    setup
        .directory
        .write("route.yaml", &gateway_api_route(HOST, "two"));
    served_by(&running, "two");
    assert!(running.is_running());
    assert!(running.admin("/status").body.contains("cannot be bound"));
}

#[test]
fn hangup_reads_everything_again() {
    let setup = Setup::new();
    let running = Gwanmun::run(&setup.directory, &[]);
    running.signal("HUP");
    running.wait_error("reading all files again");
    served_by(&running, "one");
}

#[test]
fn changes_under_load_fail_no_request() {
    let setup = Setup::new();
    let running = Gwanmun::run(&setup.directory, &[]);
    served_by(&running, "one");
    let load = crate::support::Load::start(&running.address(80), HOST, 4);
    for round in 0..20 {
        let pod = if round % 2 == 0 { "two" } else { "one" };
        setup
            .directory
            .replace("route.yaml", &gateway_api_route(HOST, pod));
        served_by(&running, pod);
    }
    let summary = load.stop();
    assert_eq!(summary.failed, Vec::<String>::new());
    assert!(summary.answered > 20, "{summary:?}");
}
