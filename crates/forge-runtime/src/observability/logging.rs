//! Logs: lines for people in development, JSON for machines elsewhere.
//!
//! Writing never waits for a slow terminal or disk: lines go into a buffer of at most [`BUFFER_MAX`] bytes that a thread of its
//! own writes out. When the buffer is full, lines are dropped and counted, and the count is logged.

use std::cell::RefCell;
use std::ffi::OsString;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

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
    let form = match config.log_format {
        LogFormat::Json => Form::Json,
        LogFormat::Pretty => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            Form::Pretty { ansi: in_colour(terminal, |name| std::env::var_os(name)) }
        }
    };
    let subscriber = tracing_subscriber::registry().with(filter).with(LogLayer { buffer: buffer.clone(), form });
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return LogGuard(None);
    }
    let writing = buffer.clone();
    // Without the thread nothing would ever be written, so then lines are dropped, as when it is too slow.
    let spawned = std::thread::Builder::new().name("forge-log".into()).spawn(move || writing.write_forever());
    LogGuard(spawned.is_ok().then_some(buffer))
}

/// Whether lines for people are written in colour: on a terminal, unless the environment says otherwise. Somebody who reads this
/// program's output and shows it on a terminal of their own, such as `forge dev`, says so with `CLICOLOR_FORCE`.
fn in_colour(terminal: bool, variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let given = |name| variable(name).filter(|value| !value.is_empty());
    if given("NO_COLOR").is_some() {
        return false;
    }
    given("CLICOLOR_FORCE").is_some_and(|value| value != "0")
        || (terminal && given("TERM").is_none_or(|term| term != "dumb"))
}

#[derive(Debug, Default)]
struct Buffer {
    lines: Mutex<Lines>,
    wake: Condvar,
    /// Held while writing, so that lines keep their order. What was written last lends its room to the lines after next.
    writing: Mutex<Vec<u8>>,
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
        let mut bytes = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        bytes.clear();
        let dropped = {
            let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::swap(&mut lines.bytes, &mut bytes);
            std::mem::take(&mut lines.dropped)
        };
        let mut out = std::io::stderr().lock();
        // There is nowhere to report that the log itself cannot be written.
        let _ = out.write_all(&bytes);
        if dropped > 0 {
            let _ = writeln!(
                out,
                "{{\"level\":\"warn\",\"message\":\"the log could not keep up\",\"dropped_lines\":{dropped}}}"
            );
        }
    }
}

/// How lines look.
#[derive(Debug, Clone, Copy)]
enum Form {
    /// One JSON object a line: `timestamp`, `level`, `target`, the id of the request or the job it belongs to, and the event's fields.
    Json,
    /// A line for people: `19:36:46.120 info  message  key=value`.
    Pretty { ansi: bool },
}

/// Writes events. Of spans it keeps only which request or job they stand for, so that making one costs next to nothing.
#[derive(Debug)]
struct LogLayer {
    buffer: Arc<Buffer>,
    form: Form,
}

/// The id of the request that a span stands for.
struct RequestId(String);

impl Visit for RequestId {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "request_id" {
            // As long as the ids that we make.
            self.0.reserve(36);
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// The job that a span stands for: its name, and the name, the id and the attempt as fields of a line.
#[derive(Default)]
struct OfJob {
    name: String,
    fields: String,
}

impl OfJob {
    /// What [`crate::jobs`] says of an attempt.
    fn read(attributes: &Attributes<'_>) -> Option<Self> {
        let metadata = attributes.metadata();
        if metadata.name() != "job" || !metadata.target().starts_with("forge_runtime::jobs") {
            return None;
        }
        let mut of = Self::default();
        attributes.record(&mut of);
        Some(of)
    }
}

impl Visit for OfJob {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "job_id" {
            JsonFields(&mut self.fields).record_debug(field, value);
        }
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "job" {
            value.clone_into(&mut self.name);
            // As long as an id and the names of fields, and a name of usual length.
            self.fields.reserve(96);
            JsonFields(&mut self.fields).record_str(field, value);
        }
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        JsonFields(&mut self.fields).record_i64(field, value);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(job) = OfJob::read(attributes) {
            if let Some(span) = context.span(id) {
                span.extensions_mut().insert(job);
            }
            return;
        }
        let mut request = RequestId(String::new());
        attributes.record(&mut request);
        if let Some(span) = context.span(id).filter(|_| !request.0.is_empty()) {
            span.extensions_mut().insert(request);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        thread_local! {
            static LINE: RefCell<String> = const { RefCell::new(String::new()) };
        }
        LINE.with_borrow_mut(|line| {
            line.clear();
            // Writing into a String cannot fail.
            let _ = match self.form {
                Form::Json => json_line(line, event, &context),
                Form::Pretty { ansi } => pretty_line(line, event, &context, ansi),
            };
            self.buffer.push(line.as_bytes());
        });
    }
}

fn json_line<S: Subscriber + for<'a> LookupSpan<'a>>(
    line: &mut String,
    event: &Event<'_>,
    context: &Context<'_, S>,
) -> fmt::Result {
    let metadata = event.metadata();
    line.push_str("{\"timestamp\":\"");
    now(line)?;
    write!(line, "\",\"level\":\"{}\",\"target\":", level(metadata.level()))?;
    json_text(line, metadata.target());
    for span in context.event_scope(event).into_iter().flatten() {
        if let Some(request) = span.extensions().get::<RequestId>() {
            line.push_str(",\"request_id\":");
            json_text(line, &request.0);
        }
        if let Some(job) = span.extensions().get::<OfJob>() {
            line.push_str(&job.fields);
        }
    }
    event.record(&mut JsonFields(line));
    line.push_str("}\n");
    Ok(())
}

struct JsonFields<'a>(&'a mut String);

impl JsonFields<'_> {
    fn name(&mut self, field: &Field) {
        self.0.push_str(",\"");
        // Names of fields are Rust identifiers.
        self.0.push_str(field.name());
        self.0.push_str("\":");
    }

    fn plain(&mut self, field: &Field, value: impl fmt::Display) {
        self.name(field);
        let _ = write!(self.0, "{value}");
    }
}

impl Visit for JsonFields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.name(field);
        json_text(self.0, &format!("{value:?}"));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        json_text(self.0, value);
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, value);
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, value);
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, value);
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.plain(field, value);
        } else {
            self.plain(field, "null");
        }
    }
}

/// Text as a JSON string. Control characters are escaped, so that nobody's input can forge a line.
fn json_text(line: &mut String, text: &str) {
    line.push('"');
    // Mostly there is nothing to escape. Looking at every byte, whatever the earlier ones were, takes a few wide instructions.
    let plain = |byte| matches!(byte, b' '..=b'~') & (byte != b'"') & (byte != b'\\');
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        line.push_str(text);
    } else {
        escape_json(line, text);
    }
    line.push('"');
}

fn escape_json(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '"' => line.push_str("\\\""),
            '\\' => line.push_str("\\\\"),
            c if c.is_control() => {
                let _ = write!(line, "\\u{:04x}", c as u32);
            }
            c => line.push(c),
        }
    }
}

fn pretty_line<S: Subscriber + for<'a> LookupSpan<'a>>(
    line: &mut String,
    event: &Event<'_>,
    context: &Context<'_, S>,
    ansi: bool,
) -> fmt::Result {
    let level = level(event.metadata().level());
    let (dim, colour, end) = match (ansi, level) {
        (false, _) => ("", "", ""),
        (true, "error") => ("\x1b[2m", "\x1b[31m", "\x1b[0m"),
        (true, "warn") => ("\x1b[2m", "\x1b[33m", "\x1b[0m"),
        (true, _) => ("\x1b[2m", "\x1b[32m", "\x1b[0m"),
    };
    let mut time = String::new();
    now(&mut time)?;
    let mut fields = PrettyFields { request: event.metadata().target() == REQUEST, ..PrettyFields::default() };
    event.record(&mut fields);
    for span in context.event_scope(event).into_iter().flatten() {
        if let Some(job) = span.extensions().get::<OfJob>() {
            write!(fields.rest, " job={}", job.name)?;
        }
    }
    writeln!(
        line,
        "{dim}{}{end} {colour}{level:5}{end} {}{dim}{}{end}",
        time.get(11..23).unwrap_or(&time),
        fields.message,
        fields.rest
    )
}

/// The target of the request log.
pub(crate) const REQUEST: &str = "forge::request";

/// Fields as people want them: of a request, what it was and how it went, without names and ids.
#[derive(Default)]
struct PrettyFields {
    request: bool,
    message: String,
    rest: String,
}

impl Visit for PrettyFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if self.request {
            match field.name() {
                "request_id" | "trace_id" | "bytes" | "user" | "path" => {}
                _ if text == "\"\"" => {}
                "duration_us" => {
                    let ms = text.parse::<f64>().unwrap_or(0.0) / 1000.0;
                    let _ = write!(self.rest, "{ms:.1} ms");
                }
                _ => {
                    escape_into(&mut self.message, text.trim_matches('"'));
                    self.message.push(' ');
                }
            }
        } else if field.name() == "message" {
            escape_into(&mut self.message, &text);
        } else if text != "\"\"" {
            self.rest.push_str("  ");
            self.rest.push_str(field.name());
            self.rest.push('=');
            escape_into(&mut self.rest, &text);
        }
    }
}

/// Control characters but line ends are escaped: a terminal would obey them.
fn escape_into(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() && c != '\n' {
            line.extend(c.escape_default());
        } else {
            line.push(c);
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

/// The time: RFC 3339 in UTC with microseconds.
fn now(line: &mut String) -> fmt::Result {
    thread_local! {
        /// The second that was written last, as a number and as text without its `Z`: most lines are of the same one.
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, text)| {
        if *second != since.as_secs() {
            let time = jiff::Timestamp::from_second(since.as_secs() as i64).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            *text = format!("{time:.0}");
            text.pop();
            *second = since.as_secs();
        }
        line.push_str(text);
        write!(line, ".{:06}Z", since.subsec_micros())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_be_forged() {
        let mut line = String::new();
        json_text(&mut line, "a\"}\n{\"level\":\"error\"}\u{1b}[31m\\");
        assert!(!line.contains('\n') && !line.contains('\u{1b}'));
        assert_eq!(serde_json::from_str::<String>(&line).unwrap(), "a\"}\n{\"level\":\"error\"}\u{1b}[31m\\");
    }

    #[test]
    fn colours_are_for_terminals_and_for_those_who_ask() {
        let coloured = |terminal, given: &[(&str, &str)]| {
            in_colour(terminal, |name| given.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
        };
        assert!(coloured(true, &[]) && coloured(true, &[("NO_COLOR", ""), ("TERM", "xterm")]));
        assert!(!coloured(false, &[]) && !coloured(true, &[("TERM", "dumb")]));
        assert!(coloured(false, &[("CLICOLOR_FORCE", "1")]) && coloured(true, &[("CLICOLOR_FORCE", "0")]));
        assert!(!coloured(false, &[("CLICOLOR_FORCE", "0")]) && !coloured(false, &[("CLICOLOR_FORCE", "")]));
        assert!(!coloured(true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
    }

    #[test]
    fn the_time_is_written_with_microseconds() {
        for _ in 0..2 {
            let mut line = String::new();
            now(&mut line).unwrap();
            let time: jiff::Timestamp = line.parse().unwrap();
            assert_eq!(format!("{time:.6}"), line);
            assert!(time.duration_until(jiff::Timestamp::now()).abs() < jiff::SignedDuration::from_secs(60), "{line}");
        }
    }

    #[test]
    fn what_a_job_says_is_said_to_be_its() {
        use tracing_subscriber::layer::SubscriberExt as _;
        let said = |form| {
            let buffer = Arc::new(Buffer::default());
            let layer = LogLayer { buffer: buffer.clone(), form };
            tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
                let span = tracing::info_span!(target: "forge_runtime::jobs::run", "job", job = "daily_digest", job_id = %7, attempt = 2_i32);
                span.in_scope(|| tracing::info!(mails = 3, "sent"));
                tracing::info!("afterwards");
            });
            String::from_utf8(std::mem::take(&mut buffer.lines.lock().unwrap().bytes)).unwrap()
        };
        let text = said(Form::Json);
        let mut lines = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let line = lines.next().unwrap();
        assert_eq!((&line["job"], &line["job_id"], &line["attempt"]), (&"daily_digest".into(), &"7".into(), &2.into()));
        assert_eq!((&line["message"], &line["mails"]), (&"sent".into(), &3.into()));
        assert!(lines.next().unwrap().get("job").is_none());
        let text = said(Form::Pretty { ansi: false });
        assert!(text.lines().next().unwrap().ends_with("sent  mails=3 job=daily_digest"), "{text}");
    }

    #[test]
    fn a_full_buffer_drops_and_counts() {
        let buffer = Buffer::default();
        let line = vec![b'x'; 1 << 20];
        for _ in 0..6 {
            buffer.push(&line);
        }
        let lines = buffer.lines.lock().unwrap();
        assert_eq!((lines.bytes.len(), lines.dropped), (4 << 20, 2));
    }
}
