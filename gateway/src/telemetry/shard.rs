//! What one worker writes, and what brings it all together.

use super::{
    Exchange, ListenerStats, TcpSeries,
    clock::Clock,
    line,
    series::Counters,
    writer::{Lines, Log, Sink, Source},
};
use crate::{
    AccessLogMode, Config, Workload,
    cluster::{Cluster, Endpoint},
};
use parking_lot::Mutex;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// The access log and the metrics of the process.
pub(crate) struct Telemetry {
    mode: AccessLogMode,
    pub(super) log: Arc<Log>,
    pub(super) workload: Workload,
    pub(super) shards: Mutex<Vec<Arc<Inner>>>,
    listeners: Mutex<HashMap<SocketAddr, Weak<ListenerStats>>>,
    last_listener: AtomicU64,
    pub(super) epoch: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) started: Instant,
}

/// The part of [`Telemetry`] that one worker writes to.
pub(crate) struct Shard {
    mode: AccessLogMode,
    log: Arc<Log>,
    inner: Arc<Inner>,
}

/// What a worker has written and nobody has taken. The lock is the worker's but for moments.
pub(super) struct Inner(Mutex<Written>);

struct Written {
    clock: Clock,
    lines: Lines,
    counters: Counters,
}

impl Source for Inner {
    fn with_lines(&self, take: &mut dyn FnMut(&mut Lines)) {
        take(&mut self.0.lock().lines);
    }
}

impl Inner {
    /// Gives access to the counters, for a moment.
    pub(super) fn with_counters<T>(&self, read: impl FnOnce(&mut Counters) -> T) -> T {
        read(&mut self.0.lock().counters)
    }
}

impl Telemetry {
    /// Starts the log's writer thread.
    ///
    /// # Errors
    ///
    /// When the thread cannot be spawned, or the log's file cannot be opened.
    pub(crate) fn start(config: &Config) -> std::io::Result<Arc<Self>> {
        let sink: Sink = match &config.access_log_file {
            None => Box::new(std::io::stdout()),
            Some(path) => Box::new(
                std::fs::File::options()
                    .append(true)
                    .create(true)
                    .open(path)?,
            ),
        };
        Self::with_sink(config, sink)
    }

    /// As [`Telemetry::start`], with the access log written elsewhere.
    pub(crate) fn with_sink(config: &Config, sink: Sink) -> std::io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            mode: config.access_log,
            log: Log::start(sink)?,
            workload: config.workload.clone(),
            shards: Mutex::default(),
            listeners: Mutex::default(),
            last_listener: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            started: Instant::now(),
        }))
    }

    /// A new part for one worker; call it once per worker.
    pub(crate) fn shard(&self) -> Shard {
        let inner = Arc::new(Inner(Mutex::new(Written {
            clock: Clock::new(Instant::now()),
            lines: Lines::default(),
            counters: Counters::default(),
        })));
        self.shards.lock().push(Arc::clone(&inner));
        self.log.add(Arc::<Inner>::clone(&inner));
        Shard {
            mode: self.mode,
            log: Arc::clone(&self.log),
            inner,
        }
    }

    /// The counters of the listener on `address`; the same ones as long as somebody holds them.
    pub(crate) fn listener(&self, address: SocketAddr) -> Arc<ListenerStats> {
        let mut listeners = self.listeners.lock();
        listeners.retain(|_, listener| listener.strong_count() > 0);
        if let Some(known) = listeners.get(&address).and_then(Weak::upgrade) {
            return known;
        }
        let id = self.last_listener.fetch_add(1, Relaxed) + 1;
        let new = Arc::new(ListenerStats::new(id, address));
        listeners.insert(address, Arc::downgrade(&new));
        new
    }

    /// All listeners somebody holds, by address.
    pub(super) fn listeners(&self) -> Vec<Arc<ListenerStats>> {
        let listeners = self.listeners.lock();
        let mut live: Vec<_> = listeners.values().filter_map(Weak::upgrade).collect();
        live.sort_by(|one, other| one.address.cmp(&other.address));
        live
    }

    /// What the last delta led to.
    pub(crate) fn configured(&self, epoch: u64, rejected: usize) {
        self.epoch.store(epoch, Relaxed);
        let rejected = u64::try_from(rejected).unwrap_or(u64::MAX);
        self.rejected.store(rejected, Relaxed);
    }

    /// Writes all lines there are, waiting at most `longest`.
    pub(crate) fn flush(&self, longest: Duration) {
        self.log.flush(longest);
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.log.stop();
    }
}

impl Shard {
    /// Counts a connection that carries bytes as open. Its end is for [`Shard::record`] to count,
    /// its bytes for the connection.
    pub(crate) fn connection_opened(
        &self,
        cluster: &Cluster,
        endpoint: &Endpoint,
    ) -> Arc<TcpSeries> {
        self.inner.0.lock().counters.opened(cluster, endpoint)
    }

    /// Writes the line and counts. Call it exactly once per request, however it ended.
    pub(crate) fn record(&self, exchange: &Exchange<'_>) {
        let mut guard = self.inner.0.lock();
        let written = &mut *guard;
        written.counters.count(exchange);
        let write = match self.mode {
            AccessLogMode::Off => return,
            AccessLogMode::Text => line::write_text,
            AccessLogMode::Json => line::write_json,
        };
        let clock = &mut written.clock;
        self.log.line(&mut written.lines, |out| {
            let start = clock.unix_ms(exchange.start, exchange.end);
            write(out, clock, start, exchange);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::writer::tests::ChannelSink;
    use std::sync::mpsc;

    fn config(access_log: AccessLogMode) -> Config {
        Config {
            access_log,
            ..Config::default()
        }
    }

    #[test]
    fn lines_of_all_workers_arrive_before_flush_returns() {
        let (sender, written) = mpsc::channel();
        let sink = Box::new(ChannelSink(sender));
        let telemetry = Telemetry::with_sink(&config(AccessLogMode::Text), sink).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let shard = telemetry.shard();
                std::thread::spawn(move || {
                    for _ in 0..100 {
                        shard.record(&Exchange::new(Instant::now(), address, address));
                    }
                })
            })
            .collect();
        for worker in workers {
            worker.join().unwrap();
        }
        telemetry.flush(Duration::from_secs(10));
        let all: Vec<u8> = written.try_iter().flatten().collect();
        let text = String::from_utf8(all).unwrap();
        assert_eq!(text.lines().count(), 300);
        assert!(
            text.lines()
                .all(|line| line.contains("] \"- - -\" 0 - - - \"-\" 0 0 0"))
        );
    }

    #[test]
    fn nothing_is_written_when_the_log_is_off() {
        let (sender, written) = mpsc::channel();
        let sink = Box::new(ChannelSink(sender));
        let telemetry = Telemetry::with_sink(&config(AccessLogMode::Off), sink).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let shard = telemetry.shard();
        shard.record(&Exchange::new(Instant::now(), address, address));
        telemetry.flush(Duration::from_secs(10));
        assert_eq!(written.try_iter().flatten().count(), 0);
    }

    #[test]
    fn a_listener_keeps_its_counters_while_somebody_holds_them() {
        let telemetry =
            Telemetry::with_sink(&config(AccessLogMode::Off), Box::new(std::io::sink())).unwrap();
        let address = SocketAddr::from(([0, 0, 0, 0], 80));
        let one = telemetry.listener(address);
        one.opened();
        assert_eq!(telemetry.listener(address).active(), 1);
        drop(one);
        assert_eq!(telemetry.listener(address).active(), 0);
    }
}
