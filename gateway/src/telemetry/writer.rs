//! The access log's writer: one thread that takes full buffers from the workers.
//!
//! A worker never waits for it. Lines that find their worker's queue full are counted and lost.

use parking_lot::{Condvar, Mutex};
use std::{
    io::Write,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Longest time a line waits.
const DELAY: Duration = Duration::from_millis(100);
/// Size at which a buffer is handed over.
const FULL: usize = 64 * 1024;
/// Full buffers of one worker that may wait, 8 MiB of lines.
const QUEUE: usize = 128;
/// Empty buffers kept for reuse.
const SPARE: usize = 16;

/// Where log lines go.
pub(crate) type Sink = Box<dyn Write + Send>;

/// Lines of one worker that were not taken yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    current: Vec<u8>,
    full: Vec<Vec<u8>>,
}

/// Something workers keep lines in.
pub(super) trait Source: Send + Sync {
    /// Gives access to the lines, for a moment.
    fn with_lines(&self, take: &mut dyn FnMut(&mut Lines));
}

/// The part of the log that workers and writer share.
pub(super) struct Log {
    state: Mutex<State>,
    /// Something to do for the writer.
    work: Condvar,
    /// A flush is done.
    flushed: Condvar,
    sources: Mutex<Vec<Arc<dyn Source>>>,
    /// Lines lost because the writer did not keep up.
    pub(super) dropped: AtomicU64,
    /// Writes that failed.
    pub(super) errors: AtomicU64,
}

#[derive(Default)]
struct State {
    waiting: bool,
    urgent: bool,
    stop: bool,
    flushes: u64,
    flushes_done: u64,
    spare: Vec<Vec<u8>>,
}

impl Log {
    /// Starts the writer.
    ///
    /// # Errors
    ///
    /// When its thread cannot be spawned.
    pub(super) fn start(sink: Sink) -> std::io::Result<Arc<Self>> {
        let log = Arc::new(Self {
            state: Mutex::default(),
            work: Condvar::new(),
            flushed: Condvar::new(),
            sources: Mutex::default(),
            dropped: AtomicU64::new(0),
            errors: AtomicU64::new(0),
        });
        let writer = Arc::clone(&log);
        std::thread::Builder::new()
            .name("access-log".to_owned())
            .spawn(move || writer.run(sink))?;
        Ok(log)
    }

    /// Takes lines from here, too.
    pub(super) fn add(&self, source: Arc<dyn Source>) {
        self.sources.lock().push(source);
    }

    /// Appends what `write` writes to `lines`: one line.
    pub(super) fn line(&self, lines: &mut Lines, write: impl FnOnce(&mut Vec<u8>)) {
        if lines.full.len() >= QUEUE {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let first = lines.current.is_empty();
        write(&mut lines.current);
        if lines.current.len() >= FULL {
            let mut state = self.state.lock();
            let empty = state.spare.pop().unwrap_or_default();
            state.urgent = true;
            lines.full.push(mem::replace(&mut lines.current, empty));
            self.work.notify_one();
        } else if first {
            let mut state = self.state.lock();
            if !mem::replace(&mut state.waiting, true) {
                self.work.notify_one();
            }
        }
    }

    /// Writes what there is now; waits for it at most `longest`.
    pub(super) fn flush(&self, longest: Duration) {
        let deadline = Instant::now() + longest;
        let mut state = self.state.lock();
        state.flushes += 1;
        let wanted = state.flushes;
        self.work.notify_one();
        while state.flushes_done < wanted {
            if self.flushed.wait_until(&mut state, deadline).timed_out() {
                return;
            }
        }
    }

    /// Ends the writer after what there is now; does not wait.
    pub(super) fn stop(&self) {
        self.state.lock().stop = true;
        self.work.notify_one();
    }

    fn run(&self, mut sink: Sink) {
        loop {
            let (flushes, stop) = self.wait();
            let sources = self.sources.lock().clone();
            for source in sources {
                self.drain(source.as_ref(), &mut sink);
            }
            if sink.flush().is_err() {
                self.errors.fetch_add(1, Relaxed);
            }
            let mut state = self.state.lock();
            state.flushes_done = state.flushes_done.max(flushes);
            self.flushed.notify_all();
            if stop {
                return;
            }
        }
    }

    /// Waits for lines, then for more of them. Returns up to which flush is being served, and
    /// whether it is the last time.
    fn wait(&self) -> (u64, bool) {
        let mut state = self.state.lock();
        let pressing =
            |state: &State| state.urgent || state.stop || state.flushes > state.flushes_done;
        while !state.waiting && !pressing(&state) {
            self.work.wait(&mut state);
        }
        let deadline = Instant::now() + DELAY;
        while !pressing(&state) {
            if self.work.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        state.waiting = false;
        state.urgent = false;
        (state.flushes, state.stop)
    }

    fn drain(&self, source: &dyn Source, sink: &mut Sink) {
        let spare = self.state.lock().spare.pop().unwrap_or_default();
        let mut taken = Vec::new();
        let mut spare = Some(spare);
        source.with_lines(&mut |lines| {
            taken = mem::take(&mut lines.full);
            if !lines.current.is_empty() {
                let empty = spare.take().unwrap_or_default();
                taken.push(mem::replace(&mut lines.current, empty));
            }
        });
        for mut buffer in taken.into_iter().chain(spare) {
            if sink.write_all(&buffer).is_err() {
                self.errors.fetch_add(1, Relaxed);
            }
            buffer.clear();
            let mut state = self.state.lock();
            if state.spare.len() < SPARE && buffer.capacity() <= 4 * FULL {
                state.spare.push(buffer);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Sends what is written to it.
    pub(crate) struct ChannelSink(pub(crate) mpsc::Sender<Vec<u8>>);

    impl Write for ChannelSink {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.send(buf.to_vec()).ok();
            Ok(buf.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[derive(Default)]
    struct Worker(Mutex<Lines>);

    impl Source for Worker {
        fn with_lines(&self, take: &mut dyn FnMut(&mut Lines)) {
            take(&mut self.0.lock());
        }
    }

    impl Worker {
        fn write(&self, log: &Log, text: &str) {
            log.line(&mut self.0.lock(), |out| {
                out.extend_from_slice(text.as_bytes());
            });
        }
    }

    fn start() -> (Arc<Log>, Arc<Worker>, mpsc::Receiver<Vec<u8>>) {
        let (sender, receiver) = mpsc::channel();
        let log = Log::start(Box::new(ChannelSink(sender))).unwrap();
        let worker = Arc::new(Worker::default());
        log.add(Arc::<Worker>::clone(&worker));
        (log, worker, receiver)
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn a_line_is_written_soon_without_being_asked_for() {
        let (log, worker, written) = start();
        let before = Instant::now();
        worker.write(&log, "one\n");
        assert_eq!(written.recv_timeout(LONG).unwrap(), b"one\n");
        assert!(before.elapsed() < Duration::from_secs(5));
        log.stop();
    }

    #[test]
    fn lines_of_a_worker_keep_their_order() {
        let (log, worker, written) = start();
        for number in 0..50_000 {
            worker.write(&log, &format!("line {number}\n"));
        }
        log.flush(LONG);
        log.stop();
        let all: Vec<u8> = written.try_iter().flatten().collect();
        let text = String::from_utf8(all).unwrap();
        let expected: String = (0..50_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        assert_eq!(log.dropped.load(Relaxed), 0);
        assert!(text == expected);
    }

    /// Blocks until told to go on.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            self.0.recv().ok();
            Ok(buf.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_sink_costs_lines_but_never_blocks() {
        let (release, stuck) = mpsc::channel();
        let log = Log::start(Box::new(Stuck(stuck))).unwrap();
        let worker = Arc::new(Worker::default());
        log.add(Arc::<Worker>::clone(&worker));
        let line = "x".repeat(1023) + "\n";
        let fits = QUEUE * FULL / 1024;
        for _ in 0..fits * 2 + 200 {
            worker.write(&log, &line);
        }
        assert!(log.dropped.load(Relaxed) > 0);
        let before = Instant::now();
        log.flush(Duration::from_millis(20));
        assert!(before.elapsed() < LONG);
        drop(release);
        log.stop();
    }
}
