//! The command line: every subcommand, its arguments and how they are parsed.
//!
//! Scripts are written against these names; the contract is `docs/configuration.md`.

use clap::{Args, Parser, Subcommand, ValueEnum};
use gwanmun_translate::Compat;
use std::{net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

/// An ingress and egress gateway for Istio's API and the Kubernetes Gateway API.
#[derive(Debug, Parser)]
#[command(
    name = "gwanmun",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Translate manifests without serving; one line per finding
    Check(CheckArgs),
    /// Print a shell completion script
    Completions(CompletionsArgs),
    /// Print the compiled configuration
    Config(ConfigArgs),
    /// Reconcile a cluster and serve its gateways their configuration
    Controller(Box<ControllerArgs>),
    /// Try it: echo backends, certificates, examples and a gateway in one process
    Demo(DemoArgs),
    /// Say which way a request would take, and why no other
    Explain(ExplainArgs),
    /// Serve what a controller says: a gateway pod
    Gateway(Box<GatewayArgs>),
    /// Serve a directory of manifests and follow its changes
    Run(Box<RunArgs>),
    /// Print every object with its conditions
    Status(StatusArgs),
    /// Print the version
    Version,
}

/// Arguments of `run`.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// File, directory (recursive *.yaml *.yml *.json) or '-'; repeatable. Objects without a
    /// namespace get NS
    #[arg(long, required = true, value_name = "[NS=]PATH")]
    pub(crate) config: Vec<ConfigPath>,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    #[command(flatten)]
    pub(crate) sockets: SocketArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// Arguments of `controller`.
#[derive(Args, Debug)]
pub(crate) struct ControllerArgs {
    /// Namespace of the controller
    #[arg(
        long,
        value_name = "NS",
        env = "POD_NAMESPACE",
        default_value = "gwanmun-system"
    )]
    pub(crate) namespace: String,
    /// Name of this replica: its pod
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(crate) instance: String,
    /// Service at which gateways reach the controller
    #[arg(long, value_name = "NAME", default_value = "gwanmun-controller")]
    pub(crate) service: String,
    /// Where gateways are served
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:15012")]
    pub(crate) listen: SocketAddr,
    /// Where /healthz and /readyz are answered
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:15021")]
    pub(crate) health: SocketAddr,
    /// Image of the gateway pods that Gateways get
    #[arg(long, value_name = "IMAGE", env = "GWANMUN_IMAGE")]
    pub(crate) image: String,
    /// Another class name that is ours, e.g. istio; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) gateway_class: Vec<String>,
    /// Istio's root namespace
    #[arg(long, value_name = "NS", default_value = "istio-system")]
    pub(crate) root_namespace: String,
    /// DNS suffix of Services
    #[arg(long, value_name = "DOMAIN", default_value = "cluster.local")]
    pub(crate) cluster_domain: String,
    /// Istio compatibility version, e.g. 1.17 [default: current]
    #[arg(long, value_name = "VERSION")]
    pub(crate) compat: Option<Compat>,
    /// Log on standard error: error, warn, info, debug, trace, or a filter such as
    /// info,gwanmun_controller=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: String,
    /// Form of the log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
}

/// Arguments of `gateway`.
#[derive(Args, Debug)]
pub(crate) struct GatewayArgs {
    /// Controller to follow
    #[arg(long, value_name = "HOST:PORT", env = "GWANMUN_CONTROLLER")]
    pub(crate) controller: String,
    /// Name that its certificate must have [default: HOST]
    #[arg(long, value_name = "NAME", env = "GWANMUN_CONTROLLER_NAME")]
    pub(crate) controller_name: Option<String>,
    /// File with the authorities that vouch for the controller, PEM
    #[arg(
        long,
        value_name = "FILE",
        env = "GWANMUN_CA",
        default_value = "/var/run/gwanmun/ca/ca.crt"
    )]
    pub(crate) ca: PathBuf,
    /// File with the token that says who this is
    #[arg(
        long,
        value_name = "FILE",
        env = "GWANMUN_TOKEN",
        default_value = "/var/run/gwanmun/token/token"
    )]
    pub(crate) token: PathBuf,
    /// The gateway this is a process of
    #[arg(long, value_name = "NS/NAME", env = "GWANMUN_GATEWAY", value_parser = namespaced)]
    pub(crate) gateway: String,
    /// Name of this process among those of the gateway: its pod
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub(crate) instance: String,
    /// File that keeps the last good configuration, to start from while the controller is away
    #[arg(long, value_name = "FILE", env = "GWANMUN_CACHE")]
    pub(crate) cache: Option<PathBuf>,
    /// Keep certificates and private keys in that file too
    #[arg(long, env = "GWANMUN_CACHE_SECRETS", requires = "cache")]
    pub(crate) cache_secrets: bool,
    /// Label of this workload, for metrics; repeatable
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<Label>,
    #[command(flatten)]
    pub(crate) sockets: SocketArgs,
    #[command(flatten)]
    pub(crate) process: ProcessArgs,
}

/// Logs and the end of a serving process.
#[derive(Args, Debug)]
pub(crate) struct ProcessArgs {
    /// Access log on standard output
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) access_log: AccessLog,
    /// Application log on standard error: error, warn, info, debug, trace, or a filter such as
    /// info,gwanmun_gateway=debug
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(crate) log: String,
    /// Form of the application log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Longest time from SIGTERM to exit, e.g. 45s
    #[arg(long, value_name = "DURATION", default_value = "45s", value_parser = duration)]
    pub(crate) drain: Duration,
}

/// Where a gateway listens and with how many threads.
#[derive(Args, Debug)]
pub(crate) struct SocketArgs {
    /// Bind address for listeners without one of their own [default: all, IPv4 and IPv6]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) bind: Option<std::net::IpAddr>,
    /// Bind port B where A would be bound; repeatable. B 0 picks a free one
    #[arg(long, value_name = "A:B")]
    pub(crate) map_port: Vec<PortMap>,
    /// DNS server for upstream names [default: the system's]
    #[arg(long, value_name = "ADDR")]
    pub(crate) dns: Option<SocketAddr>,
    /// Admin address, loopback only, or 'off'
    #[arg(
        long,
        value_name = "ADDR",
        env = "GWANMUN_ADMIN",
        default_value = "127.0.0.1:15000",
        value_parser = loopback
    )]
    pub(crate) admin: ListenAddress,
    /// Metrics address, or 'off'
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:15020")]
    pub(crate) metrics: ListenAddress,
    /// Health address, or 'off'
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:15021")]
    pub(crate) health: ListenAddress,
    /// Worker threads [default: cores the process may use]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) concurrency: Option<u16>,
}

/// Who this gateway is: decides which objects are served and how names resolve.
#[derive(Args, Clone, Debug)]
pub(crate) struct WorkloadArgs {
    /// Label of this gateway workload; repeatable. An Istio Gateway is served when its selector is
    /// a subset of the labels; without any, every selector matches
    #[arg(long, value_name = "K=V")]
    pub(crate) label: Vec<Label>,
    /// Namespace of this workload; Istio's credentialName Secrets are read from it
    #[arg(long, value_name = "NS", default_value = "istio-system")]
    pub(crate) namespace: String,
    /// Another class name that is ours, e.g. istio; repeatable
    #[arg(long, value_name = "NAME")]
    pub(crate) gateway_class: Vec<String>,
    /// Revision of this workload: Istio's objects labelled istio.io/rev with another are left out
    /// [default: those of every revision are served]
    #[arg(long, value_name = "NAME")]
    pub(crate) revision: Option<String>,
    /// Istio compatibility version, e.g. 1.17 [default: current]
    #[arg(long, value_name = "VERSION")]
    pub(crate) compat: Option<Compat>,
}

impl Default for WorkloadArgs {
    fn default() -> Self {
        Self {
            label: Vec::new(),
            namespace: "istio-system".to_owned(),
            gateway_class: Vec::new(),
            revision: None,
            compat: None,
        }
    }
}

/// Arguments of `check`.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Files, directories (recursive *.yaml *.yml *.json) or '-'
    #[arg(required = true, value_name = "[NS=]PATH")]
    pub(crate) paths: Vec<ConfigPath>,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    /// Fail on warnings too
    #[arg(long)]
    pub(crate) strict: bool,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// Where `explain`, `config` and `status` find their configuration.
#[derive(Args, Debug)]
pub(crate) struct TargetArgs {
    /// Admin address of the running gateway to ask
    #[arg(
        long,
        value_name = "ADDR",
        env = "GWANMUN_ADMIN",
        default_value = "127.0.0.1:15000"
    )]
    pub(crate) admin: SocketAddr,
    /// Translate these manifests offline instead; repeatable
    #[arg(long, value_name = "[NS=]PATH")]
    pub(crate) config: Vec<ConfigPath>,
    #[command(flatten)]
    pub(crate) workload: WorkloadArgs,
    /// Form of the output
    #[arg(short, long, value_name = "FORMAT", default_value = "text")]
    pub(crate) output: Output,
}

/// Arguments of `explain`.
#[derive(Args, Debug)]
pub(crate) struct ExplainArgs {
    /// HTTP method
    pub(crate) method: String,
    /// URL as a client would write it
    pub(crate) url: String,
    /// Request header; repeatable
    #[arg(long, value_name = "K:V")]
    pub(crate) header: Vec<String>,
    /// Server name of the TLS handshake [default: the URL's host, with https]
    #[arg(long, value_name = "NAME")]
    pub(crate) sni: Option<String>,
    /// Address of the client
    #[arg(long, value_name = "IP")]
    pub(crate) source_ip: Option<std::net::IpAddr>,
    /// Port of the listener [default: the URL's]
    #[arg(long, value_name = "PORT")]
    pub(crate) port: Option<u16>,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Arguments of `config`.
#[derive(Args, Debug)]
pub(crate) struct ConfigArgs {
    /// Which part
    pub(crate) section: Section,
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// The parts of the compiled configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Section {
    /// Sockets and what they match
    Listeners,
    /// Routes of each virtual host
    Routes,
    /// Interchangeable endpoints and how they are found
    Clusters,
    /// Addresses of each cluster
    Endpoints,
    /// Certificates
    Secrets,
    /// Everything
    All,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    pub(crate) target: TargetArgs,
}

/// Arguments of `demo`.
#[derive(Args, Debug)]
pub(crate) struct DemoArgs {
    /// Run the printed requests instead of waiting, and fail when an answer is wrong
    #[arg(long)]
    pub(crate) check: bool,
    /// Only answer on the loopback endpoints that these manifests name: backends for trying a
    /// configuration of your own; repeatable
    #[arg(long, value_name = "[NS=]PATH", conflicts_with = "check")]
    pub(crate) backends: Vec<ConfigPath>,
}

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub(crate) struct CompletionsArgs {
    /// Shell to complete for
    pub(crate) shell: clap_complete::Shell,
}

/// Form of a command's output.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Output {
    /// JSON, for programs
    Json,
    /// Lines and tables, for people
    Text,
}

/// Form of the access log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum AccessLog {
    /// None
    Off,
    /// Istio's default line
    Text,
    /// Istio's JSON keys
    Json,
}

/// Form of the application log.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One line of text per event
    Text,
    /// One JSON object per event
    Json,
}

/// Manifests to read and the namespace of objects without one: `[NS=]PATH`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct ConfigPath {
    /// Namespace of objects that do not say theirs.
    pub(crate) namespace: String,
    /// Where the manifests are.
    pub(crate) place: Place,
}

/// Where manifests are read from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// A file, or a directory with everything below it.
    Path(PathBuf),
    /// Standard input, once.
    Stdin,
}

impl FromStr for ConfigPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (namespace, path) = match text.split_once('=') {
            Some((namespace, path)) if is_namespace(namespace) => (namespace, path),
            Some(_) | None => ("default", text),
        };
        if path.is_empty() {
            return Err("the path is empty".to_owned());
        }
        let place = if path == "-" {
            Place::Stdin
        } else {
            Place::Path(PathBuf::from(path))
        };
        Ok(Self {
            namespace: namespace.to_owned(),
            place,
        })
    }
}

/// Whether text is a namespace's name, not a path that happens to contain `=`.
fn is_namespace(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 63
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// A label of the workload: `K=V`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Label {
    /// Key.
    pub(crate) key: String,
    /// Value, possibly empty.
    pub(crate) value: String,
}

impl FromStr for Label {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok(Self {
                key: key.to_owned(),
                value: value.to_owned(),
            }),
            Some(_) | None => Err(format!("`{text}` is not KEY=VALUE")),
        }
    }
}

/// Ports to exchange when binding: `A:B`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct PortMap {
    /// The port that would be bound.
    pub(crate) from: u16,
    /// The port that is bound; 0 picks a free one.
    pub(crate) to: u16,
}

impl FromStr for PortMap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.split_once(':').and_then(|(from, to)| {
            let from = from.parse().ok().filter(|port| *port != 0)?;
            Some(Self {
                from,
                to: to.parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("`{text}` is not PORT:PORT"))
    }
}

/// An address to listen on, or `off`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ListenAddress(pub(crate) Option<SocketAddr>);

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "off" {
            return Ok(Self(None));
        }
        match text.parse() {
            Ok(address) => Ok(Self(Some(address))),
            Err(_) => Err(format!("`{text}` is neither IP:PORT nor 'off'")),
        }
    }
}

/// Parses the admin address: it answers without authentication, so it stays on this machine.
fn loopback(text: &str) -> Result<ListenAddress, String> {
    let address: ListenAddress = text.parse()?;
    match address.0 {
        Some(socket) if !socket.ip().is_loopback() => {
            Err("the admin port has no authentication and binds loopback addresses only".to_owned())
        }
        Some(_) | None => Ok(address),
    }
}

/// Parses `NAMESPACE/NAME`.
fn namespaced(text: &str) -> Result<String, String> {
    match text.split_once('/') {
        Some((namespace, name)) if is_namespace(namespace) && !name.is_empty() => {
            Ok(text.to_owned())
        }
        Some(_) | None => Err(format!("`{text}` is not NAMESPACE/NAME")),
    }
}

/// Parses a duration as Go and Kubernetes write them: `45s`, `1m30s`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a duration such as 45s or 1m30s");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let milliseconds = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "ms" => 1,
            "s" => 1_000,
            _ => return Err(wrong()),
        };
        let number: u64 = number.parse().map_err(|_ignored| wrong())?;
        let part = number.checked_mul(milliseconds).ok_or_else(wrong)?;
        total = total.saturating_add(Duration::from_millis(part));
        rest = tail;
    }
    if text.is_empty() {
        Err(wrong())
    } else {
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn config_paths() {
        for (text, namespace, place) in [
            ("conf", "default", Place::Path("conf".into())),
            (
                "prod=conf/a.yaml",
                "prod",
                Place::Path("conf/a.yaml".into()),
            ),
            ("dir/a=b", "default", Place::Path("dir/a=b".into())),
            ("a=b=c", "a", Place::Path("b=c".into())),
            ("-", "default", Place::Stdin),
            ("prod=-", "prod", Place::Stdin),
        ] {
            let parsed: ConfigPath = text.parse().unwrap();
            assert_eq!(
                parsed,
                ConfigPath {
                    namespace: namespace.to_owned(),
                    place
                },
                "{text}"
            );
        }
        assert!("".parse::<ConfigPath>().is_err());
        assert!("ns=".parse::<ConfigPath>().is_err());
    }

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("45s", 45_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("0s", 0),
            ("2h", 7_200_000),
        ] {
            assert_eq!(
                duration(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for text in ["", "45", "s", "1d", "-1s", "1.5s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_admin_port_stays_on_loopback() {
        assert!(loopback("127.0.0.1:15000").is_ok());
        assert!(loopback("[::1]:15000").is_ok());
        assert!(loopback("off").is_ok());
        assert!(loopback("0.0.0.0:15000").is_err());
    }

    #[test]
    fn port_maps() {
        assert_eq!("80:8080".parse(), Ok(PortMap { from: 80, to: 8080 }));
        assert_eq!("80:0".parse(), Ok(PortMap { from: 80, to: 0 }));
        for text in ["80", "0:80", "80:70000", "a:b"] {
            assert!(text.parse::<PortMap>().is_err(), "{text}");
        }
    }
}
