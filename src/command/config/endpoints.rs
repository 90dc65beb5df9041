//! The table of endpoints: as configured, or with what a running gateway knows about them.

use crate::table::Table;
use gwanmun_ir::{EndpointHealth, Resource};
use serde_json::Value;

const HEADER: [&str; 4] = ["ENDPOINT", "STATUS", "OUTLIER CHECK", "CLUSTER"];

/// Endpoints as the manifests have them; names that only DNS resolves are listed as names.
pub(super) fn configured(resources: &[Resource]) -> Table {
    let mut table = Table::new(&HEADER);
    for resource in resources {
        match resource {
            Resource::Endpoints(set) => {
                for endpoint in &set.endpoints {
                    let status = match endpoint.health {
                        EndpointHealth::Draining => "DRAINING",
                        EndpointHealth::Healthy => "HEALTHY",
                        EndpointHealth::Unhealthy => "UNHEALTHY",
                    };
                    table.row([
                        endpoint.address.to_string().as_str(),
                        status,
                        "OK",
                        set.cluster.as_str(),
                    ]);
                }
            }
            Resource::Cluster(cluster) => {
                if let gwanmun_ir::Discovery::Dns { hosts, .. } = &cluster.discovery {
                    for host in hosts {
                        let address = format!("{}:{}", host.host, host.port);
                        table.row([address.as_str(), "UNRESOLVED", "OK", &cluster.name]);
                    }
                }
            }
            Resource::Chain(_)
            | Resource::Listener(_)
            | Resource::Route(_)
            | Resource::L4Route(_)
            | Resource::Secret(_) => {}
        }
    }
    table.sort();
    table
}

/// Endpoints as `/clusters?format=json` has them (Envoy's shape).
pub(super) fn running(clusters: &Value) -> Table {
    let mut table = Table::new(&HEADER);
    let list = |value: &Value, field: &str| {
        value
            .get(field)
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    for cluster in list(clusters, "cluster_statuses") {
        let name = cluster
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default();
        for host in list(&cluster, "host_statuses") {
            let address = host
                .pointer("/address/socket_address/address")
                .and_then(Value::as_str);
            let port = host
                .pointer("/address/socket_address/port_value")
                .and_then(Value::as_u64);
            let endpoint = format!("{}:{}", address.unwrap_or("-"), port.unwrap_or_default());
            let health = host.get("health_status").unwrap_or(&Value::Null);
            let status = health
                .get("eds_health_status")
                .and_then(Value::as_str)
                .unwrap_or("HEALTHY");
            let failed = health
                .get("failed_outlier_check")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            table.row([
                endpoint.as_str(),
                status,
                if failed { "FAILED" } else { "OK" },
                name,
            ]);
        }
    }
    table.sort();
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn what_a_running_gateway_knows() {
        let clusters = json!({"cluster_statuses": [{"name": "outbound|80||a.default", "host_statuses": [
            {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 80}},
             "health_status": {"eds_health_status": "HEALTHY", "failed_outlier_check": true}},
        ]}]});
        assert_eq!(
            super::running(&clusters).to_string(),
            "ENDPOINT      STATUS   OUTLIER CHECK  CLUSTER\n127.0.0.1:80  HEALTHY  FAILED         outbound|80||a.default\n"
        );
    }
}
