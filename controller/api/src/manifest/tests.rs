use super::*;

fn read_text(text: &str) -> ReadResult {
    read("a.yaml", text, "default")
}

fn summary(result: &ReadResult) -> Vec<String> {
    result
        .findings
        .iter()
        .map(|finding| {
            format!(
                "{:?} {} {}|{}|{} ({}:{})",
                finding.severity,
                finding.code,
                finding.object,
                finding.field,
                finding.message,
                finding.file,
                finding.line
            )
        })
        .collect()
}

fn keys(result: &ReadResult) -> Vec<String> {
    result
        .objects
        .iter()
        .map(|object| object.key().to_string())
        .collect()
}

#[test]
fn documents_lists_and_comments_are_read_in_order() {
    let result = read_text(
        "# a comment only\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\n---\n# nothing\n---\n\
         apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Secret\n  metadata: {name: b, namespace: x}\n\
         - apiVersion: v1\n  kind: List\n  items:\n  - {apiVersion: v1, kind: Namespace, metadata: {name: c}}\n---\n\
         apiVersion: v1\nkind: ServiceList\nitems:\n- metadata: {name: d}\n...\n",
    );
    assert_eq!(summary(&result), Vec::<String>::new());
    assert_eq!(
        keys(&result),
        [
            "Service default/a",
            "Secret x/b",
            "Namespace c",
            "Service default/d"
        ]
    );
}

#[test]
fn every_field_has_its_line() {
    let result = read_text(
        "\n# first\napiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  ports:\n  - port: 80\n  -\n    name: b\n    port: 81\n",
    );
    let object = &result.objects[0];
    for (field, line) in [
        ("", 3),
        ("metadata.name", 6),
        ("spec", 7),
        ("spec.ports[0]", 9),
        ("spec.ports[0].port", 9),
        ("spec.ports[1]", 11),
        ("spec.ports[1].port", 12),
        ("spec.ports[1].targetPort", 11),
        ("spec.selector", 7),
        ("nowhere[3].at.all", 3),
    ] {
        assert_eq!(
            object.file_line(field),
            Some((Arc::from("a.yaml"), line)),
            "{field}"
        );
    }
}

#[test]
fn json_is_read_with_lines() {
    let result = read(
        "a.json",
        "{\n\t\"apiVersion\": \"v1\",\n\t\"kind\": \"Service\",\n\t\"metadata\": {\"name\": \"a\\u00e9\"},\n\t\"spec\": {\"ports\": [\n\t{\"port\": \"x\"}\n]}}\n",
        "ns",
    );
    assert_eq!(
        summary(&result),
        [
            "Error GWM0102 Service ns/aé|spec.ports[0].port|invalid type: string \"x\", expected a whole number from 0 to 65535 (a.json:6)"
        ]
    );
}

#[test]
fn a_file_that_is_not_yaml_is_broken_as_a_whole() {
    let result =
        read_text("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\nkind: [\nfoo: bar\n");
    assert!(result.broken);
    assert!(result.objects.is_empty());
    assert_eq!(result.findings.len(), 1);
    assert!(result.findings[0].line >= 5, "{:?}", result.findings);
}

#[test]
fn a_wrong_object_is_left_out_alone() {
    let result = read_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: bad}\nspec:\n  ports: 80\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: good}\n---\n\
         apiVersion: v1\nkind: Service\n---\njust text\n---\n[1]\n---\nfoo: bar\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {name: twice, name: twice}\n",
    );
    assert!(!result.broken);
    assert_eq!(keys(&result), ["Service default/good"]);
    assert_eq!(
        summary(&result),
        [
            "Error GWM0102 Service default/bad|spec.ports|invalid type: integer `80`, expected a list (a.yaml:5)",
            "Error GWM0102 Service|metadata.name|`metadata.name` is missing (a.yaml:11)",
            "Error GWM0102 ||not a Kubernetes object (a.yaml:14)",
            "Error GWM0102 ||not a Kubernetes object (a.yaml:16)",
            "Error GWM0102 ||not a Kubernetes object (a.yaml:18)",
            "Error GWM0102 Service twice||field `name` is written twice (first on line 22) (a.yaml:22)",
        ]
    );
}

#[test]
fn foreign_kinds_are_mentioned_once_each() {
    let text = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n\
                apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: b}\n---\n\
                apiVersion: config.istio.io/v1alpha2\nkind: handler\nmetadata: {name: c}\n";
    let combined = combine([read_text(text), read_text(text)]);
    assert_eq!(
        summary(&combined),
        [
            "Info GWM0103 Deployment.apps||kind `Deployment.apps` is not served by a gateway; ignored (a.yaml:2)",
            "Warning GWM0104 handler.config.istio.io||kind `handler.config.istio.io` was removed from Istio and is not supported; ignored (a.yaml:10)",
            "Warning GWM0104 handler.config.istio.io||kind `handler.config.istio.io` was removed from Istio and is not supported; ignored (a.yaml:10)",
        ]
    );
}

#[test]
fn any_version_of_a_known_group_is_the_same_kind() {
    for (api_version, kind, expected) in [
        (
            "networking.istio.io/v1alpha3",
            "Gateway",
            Kind::IstioGateway,
        ),
        ("networking.istio.io/v1", "Gateway", Kind::IstioGateway),
        (
            "gateway.networking.k8s.io/v1alpha2",
            "TLSRoute",
            Kind::TlsRoute,
        ),
        ("gateway.networking.k8s.io/v1", "Gateway", Kind::Gateway),
        (
            "gateway.networking.x-k8s.io/v1alpha1",
            "XListenerSet",
            Kind::ListenerSet,
        ),
        (
            "discovery.k8s.io/v1beta1",
            "EndpointSlice",
            Kind::EndpointSlice,
        ),
        ("v1", "Secret", Kind::Secret),
    ] {
        assert_eq!(
            Kind::of(api_version, kind),
            Some(expected),
            "{api_version} {kind}"
        );
    }
    assert_eq!(Kind::of("config.istio.io/v1alpha2", "handler"), None);
    assert_eq!(Kind::of("v1", "Gateway"), None);
}

#[test]
fn a_later_object_replaces_an_earlier_one() {
    let one = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n";
    let two = "apiVersion: v1\nkind: Secret\nmetadata: {name: b}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {externalName: x}\n";
    let combined = combine([read_text(one), read("b.yaml", two, "default")]);
    assert_eq!(keys(&combined), ["Secret default/b", "Service default/a"]);
    let orders: Vec<u64> = combined.objects.iter().map(|object| object.order).collect();
    assert_eq!(orders, [0, 1]);
    assert_eq!(
        summary(&combined),
        [
            "Warning GWM0105 Service default/a||the same object at b.yaml:5 replaces this one (a.yaml:1)"
        ]
    );
}

#[test]
fn anchors_and_merge_keys_work_within_bounds() {
    let result = read_text(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  labels: &l {x: y, z: w}\nspec:\n  selector:\n    <<: *l\n    z: mine\n",
    );
    let Some(service) = result.objects[0].typed::<crate::core::Service>() else {
        panic!("{:?}", result.findings);
    };
    let selector: Vec<_> = service.spec.selector.iter().collect();
    assert_eq!(
        selector,
        [
            (&"x".to_owned(), &"y".to_owned()),
            (&"z".to_owned(), &"mine".to_owned())
        ]
    );

    let mut bomb = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
    for level in 1..12 {
        let before = level - 1;
        let items = vec![format!("*a{before}"); 10].join(",");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    let result = read_text(&bomb);
    assert!(result.broken);
    assert!(
        result.findings[0].message.contains("aliases expand"),
        "{:?}",
        result.findings
    );
    assert!(read_text("a: &a [*a]\n").broken);
}

#[test]
fn deep_nesting_is_refused_not_a_crash() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
    ] {
        assert!(read_text(&text).broken);
    }
}

#[test]
fn null_is_unset() {
    let result = read_text(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a, labels: null}\nendpoints: null\nports: ~\n",
    );
    assert_eq!(summary(&result), Vec::<String>::new());
    assert_eq!(keys(&result), ["EndpointSlice default/a"]);
}

proptest::proptest! {
    #[test]
    fn reading_never_panics(text in "[a-z:\\-\\n \\[\\]{}&*<,'\"#|>!%0-9]{0,200}") {
        let _ = read_text(&text);
    }
}
