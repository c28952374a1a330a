//! Logs: lines for people in development, JSON for machines elsewhere.
//!
//! Writing never waits for a slow terminal or disk: lines go into a buffer of at most [`BUFFER_MAX`] bytes that a thread of its
//! own writes out. When the buffer is full, lines are dropped and counted, and the count is logged.

use std::fmt;
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogFormat, ObservabilityConfig};

/// The most that waits to be written, in bytes.
const BUFFER_MAX: usize = 4 << 20;

/// How long a line may wait for company before it is written out.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// Writes out what is buffered when dropped. Keep it until the end of the program.
#[derive(Debug)]
#[must_use = "lines still in the buffer are lost when this is dropped at once"]
pub struct LogGuard(Option<Arc<Buffer>>);

impl Drop for LogGuard {
    fn drop(&mut self) {
        if let Some(buffer) = &self.0 {
            buffer.flush();
        }
    }
}

/// Sets up logging as the configuration says, unless the program has already set up `tracing` itself; then that stays.
pub fn init_logging(config: &ObservabilityConfig) -> LogGuard {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let buffer = Arc::new(Buffer::default());
    let writer = BufferWriter(buffer.clone());
    let set = match config.log_format {
        LogFormat::Json => {
            let subscriber = tracing_subscriber::fmt().with_env_filter(filter).event_format(JsonLines).with_writer(writer).finish();
            tracing::subscriber::set_global_default(subscriber)
        }
        LogFormat::Pretty => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr()) && std::env::var_os("NO_COLOR").is_none();
            let subscriber = tracing_subscriber::fmt()
                .with_env_filter(filter)
                .event_format(PrettyLines { ansi })
                .with_writer(writer)
                .finish();
            tracing::subscriber::set_global_default(subscriber)
        }
    };
    if set.is_err() {
        return LogGuard(None);
    }
    let writing = buffer.clone();
    // Without the thread nothing would ever be written, so then lines are dropped, as when it is too slow.
    let spawned = std::thread::Builder::new().name("forge-log".into()).spawn(move || writing.write_forever());
    LogGuard(spawned.is_ok().then_some(buffer))
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Mutex<Lines>,
    wake: Condvar,
    /// Held while writing, so that lines keep their order.
    writing: Mutex<()>,
}

#[derive(Debug, Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
    sleeping: bool,
}

impl Buffer {
    fn push(&self, line: &[u8]) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.bytes.len() + line.len() > BUFFER_MAX {
            lines.dropped += 1;
            return;
        }
        lines.bytes.extend_from_slice(line);
        if lines.sleeping {
            lines.sleeping = false;
            self.wake.notify_one();
        }
    }

    fn write_forever(&self) {
        loop {
            {
                let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                while lines.bytes.is_empty() {
                    lines.sleeping = true;
                    lines = self.wake.wait(lines).unwrap_or_else(PoisonError::into_inner);
                }
            }
            // One wake-up serves all lines of the next moment; a busy server does not pay one per line.
            std::thread::sleep(FLUSH_EVERY);
            self.flush();
        }
    }

    fn flush(&self) {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, dropped) = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            (std::mem::take(&mut lines.bytes), std::mem::take(&mut lines.dropped))
        };
        let mut out = std::io::stderr().lock();
        // There is nowhere to report that the log itself cannot be written.
        let _ = out.write_all(&bytes);
        if dropped > 0 {
            let _ = writeln!(out, "{{\"level\":\"warn\",\"message\":\"the log could not keep up\",\"dropped_lines\":{dropped}}}");
        }
    }
}

#[derive(Debug, Clone)]
struct BufferWriter(Arc<Buffer>);

impl std::io::Write for BufferWriter {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for BufferWriter {
    type Writer = Self;
    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// One JSON object a line: `timestamp`, `level`, `target`, `message`, and the event's own fields.
#[derive(Debug)]
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        write!(out, "{{\"timestamp\":\"{}\",\"level\":\"{}\",\"target\":", now(), level(metadata.level()))?;
        json_text(&mut out, metadata.target())?;
        let mut fields = JsonFields { out, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        fields.out.write_str("}\n")
    }
}

struct JsonFields<'a> {
    out: Writer<'a>,
    result: fmt::Result,
}

impl JsonFields<'_> {
    fn field(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = (|| {
                self.out.write_char(',')?;
                json_text(&mut self.out, field.name())?;
                self.out.write_char(':')?;
                write(&mut self.out)
            })();
        }
    }
}

impl Visit for JsonFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.field(field, |out| json_text(out, &format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.field(field, |out| json_text(out, value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, |out| write!(out, "{value}"));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, |out| write!(out, "{value}"));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field, |out| write!(out, "{value}"));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, |out| if value.is_finite() { write!(out, "{value}") } else { out.write_str("null") });
    }
}

/// Text as a JSON string. Control characters are escaped, so that nobody's input can forge a line.
fn json_text(out: &mut Writer<'_>, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c == '"' || c == '\\' || c.is_control()) {
        let (plain, special) = rest.split_at(at);
        out.write_str(plain)?;
        let mut chars = special.chars();
        match chars.next() {
            Some('"') => out.write_str("\\\"")?,
            Some('\\') => out.write_str("\\\\")?,
            Some(control) => write!(out, "\\u{:04x}", control as u32)?,
            None => {}
        }
        rest = chars.as_str();
    }
    out.write_str(rest)?;
    out.write_char('"')
}

/// A line for people: `19:36:46.120 INFO  message  key=value`.
#[derive(Debug)]
struct PrettyLines {
    ansi: bool,
}

impl<S, N> FormatEvent<S, N> for PrettyLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let level = level(event.metadata().level());
        let time = now();
        let time = time.get(11..23).unwrap_or(&time);
        let (dim, colour, end) = match (self.ansi, level) {
            (false, _) => ("", "", ""),
            (true, "error") => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
            (true, "warn") => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
        };
        write!(out, "{dim}{time}{end} {colour}{level:5}{end} ")?;
        let mut fields = PrettyFields { message: String::new(), rest: String::new() };
        event.record(&mut fields);
        writeln!(out, "{}{dim}{}{end}", fields.message, fields.rest)
    }
}

struct PrettyFields {
    message: String,
    rest: String,
}

impl Visit for PrettyFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let text: String = text.chars().flat_map(|c| if c.is_control() && c != '\n' { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect();
        if field.name() == "message" {
            self.message = text;
        } else {
            self.rest.push_str(&format!("  {}={text}", field.name()));
        }
    }
}

fn level(level: &tracing::Level) -> &'static str {
    match *level {
        tracing::Level::ERROR => "error",
        tracing::Level::WARN => "warn",
        tracing::Level::INFO => "info",
        tracing::Level::DEBUG => "debug",
        tracing::Level::TRACE => "trace",
    }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = jiff::Timestamp::from_microsecond(since.as_micros() as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{time:.6}")
}
