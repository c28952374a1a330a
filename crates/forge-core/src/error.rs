//! One error for everything that a caller, an operator or an app's own code may meet.
//!
//! [`Error`] is opaque and one word wide. Its [`kind`](Error::kind) says what to do with it, its
//! [`code`](Error::code) is the stable word that clients match on and that `forge explain CODE` has a page for,
//! its message is for people. A source may hang below it for the log; it never reaches a client.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::job::Wish;

/// The result that functions, contexts and the whole public API return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

type Source = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What kind of failure an [`Error`] is. More kinds may come, so a `match` needs a wildcard arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request could not be understood: malformed JSON, a wrong type, an unknown field. HTTP 400.
    InvalidArgument,
    /// The request was understood, but values break the stated rules; details name the fields. HTTP 400.
    Validation,
    /// Nobody is signed in, or the credentials are not valid (any more). HTTP 401.
    Unauthorized,
    /// The caller is known and may not do this. HTTP 403.
    Forbidden,
    /// The thing asked for does not exist. HTTP 404.
    NotFound,
    /// The state of the data does not allow it: a unique key taken, a version passed. HTTP 409.
    Conflict,
    /// The request or its result is larger or deeper than the stated limit. HTTP 413.
    PayloadTooLarge,
    /// Too many requests; `retry_after` says when to come back. HTTP 429.
    RateLimited,
    /// The caller went away or asked for an end. HTTP 499.
    Cancelled,
    /// It took longer than its timeout. Whatever it had begun was rolled back. HTTP 504.
    Timeout,
    /// The database cannot be reached or has no room for another connection; safe to repeat. HTTP 503.
    DatabaseUnavailable,
    /// The connection was lost while a commit was under way and the outcome could not be found out. HTTP 503.
    OutcomeUnknown,
    /// The database refused a statement for a reason that is a mistake in the app. HTTP 500.
    Database,
    /// The configuration, the command line or the environment is wrong.
    Config,
    /// An error of the app's own, with its own code and status.
    App,
    /// A bug: a panic, a broken invariant. The client sees no more than that. HTTP 500.
    Internal,
}

impl ErrorKind {
    /// The code an error of this kind has unless it was given one of its own.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::Validation => "VALIDATION_ERROR",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Forbidden => "FORBIDDEN",
            Self::NotFound => "NOT_FOUND",
            Self::Conflict => "CONFLICT",
            Self::PayloadTooLarge => "PAYLOAD_TOO_LARGE",
            Self::RateLimited => "RATE_LIMITED",
            Self::Cancelled => "CANCELLED",
            Self::Timeout => "TIMEOUT",
            Self::DatabaseUnavailable => "DATABASE_UNAVAILABLE",
            Self::OutcomeUnknown => "OUTCOME_UNKNOWN",
            Self::Database => "DATABASE_ERROR",
            Self::Config => "CONFIG_ERROR",
            Self::App => "APP_ERROR",
            Self::Internal => "INTERNAL_ERROR",
        }
    }

    /// The HTTP status an error of this kind is answered with unless it was given one of its own.
    pub const fn http_status(self) -> u16 {
        match self {
            Self::InvalidArgument | Self::Validation => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::Conflict => 409,
            Self::PayloadTooLarge => 413,
            Self::RateLimited => 429,
            Self::Cancelled => 499,
            Self::Timeout => 504,
            Self::DatabaseUnavailable | Self::OutcomeUnknown => 503,
            Self::App => 400,
            Self::Database | Self::Config | Self::Internal => 500,
        }
    }
}

/// Anything that went wrong, in one word-wide value. See the [module](self).
///
/// ```
/// use forge_core::{Error, ErrorKind};
///
/// let error = Error::not_found("there is no card 7");
/// assert_eq!(error.kind(), ErrorKind::NotFound);
/// assert_eq!(error.code(), "NOT_FOUND");
/// assert_eq!(error.http_status(), 404);
/// ```
pub struct Error(Box<Repr>);

struct Repr {
    kind: ErrorKind,
    code: Cow<'static, str>,
    status: u16,
    message: Cow<'static, str>,
    details: Option<Value>,
    retry_after_s: Option<u32>,
    wish: Option<Wish>,
    source: Option<Source>,
}

impl Error {
    /// An error of a kind, with the kind's own code and status.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Repr {
            kind,
            code: Cow::Borrowed(kind.code()),
            status: kind.http_status(),
            message: message.into(),
            details: None,
            retry_after_s: None,
            wish: None,
            source: None,
        }))
    }

    /// The request could not be understood (400).
    pub fn invalid_argument(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidArgument, message)
    }

    /// Values break rules (400). `details` maps a field's path to a list of sentences.
    pub fn validation(details: Value) -> Self {
        Self::new(ErrorKind::Validation, "some values are not valid").with_details(details)
    }

    /// Not signed in, or no longer (401).
    pub fn unauthorized(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unauthorized, message)
    }

    /// Signed in, but not allowed (403).
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Forbidden, message)
    }

    /// No such thing (404).
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// The state of the data does not allow it (409).
    pub fn conflict(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// Larger or deeper than a stated limit (413).
    pub fn payload_too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::PayloadTooLarge, message)
    }

    /// Too many requests (429); the client is told to come back after so many seconds.
    pub fn rate_limited(message: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Self {
        let mut error = Self::new(ErrorKind::RateLimited, message);
        error.0.retry_after_s = Some(retry_after_s);
        error
    }

    /// The caller went away or asked for an end (499).
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "the call was cancelled")
    }

    /// In a job: not now, again after this time. The attempt is not counted, and nothing is logged as a failure.
    ///
    /// Elsewhere it is an error like others, with the code `RETRY_LATER` and status 503.
    pub fn retry_in(delay: Duration) -> Self {
        let seconds = delay.as_millis().div_ceil(1000);
        let mut error = Self::new(ErrorKind::App, "it cannot be done yet").with_code("RETRY_LATER");
        error.0.status = 503;
        error.0.retry_after_s = Some(u32::try_from(seconds).unwrap_or(u32::MAX));
        error.0.wish = Some(Wish::RetryIn(delay));
        error
    }

    /// In a job: it is not to be done any more, and why. It ends as cancelled, is not tried again and is no dead letter.
    ///
    /// Elsewhere it is an error like others, of the kind [`ErrorKind::Cancelled`].
    pub fn cancel(reason: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorKind::Cancelled, reason);
        error.0.wish = Some(Wish::Cancel);
        error
    }

    /// It took longer than it may (504).
    pub fn timeout(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Timeout, message)
    }

    /// The database cannot be reached (503).
    pub fn database_unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorKind::DatabaseUnavailable, message);
        error.0.retry_after_s = Some(1);
        error
    }

    /// Something in the configuration, command line or environment is wrong. `code` has a page of its own.
    pub fn config(code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Config, message).with_code(code)
    }

    /// A bug (500). The message goes to the log; the client is told only that it happened.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// An error of the app's own. `#[derive(forge::AppError)]` calls this; it is rarely written by hand.
    pub fn app(code: &'static str, status: u16, message: impl Into<Cow<'static, str>>) -> Self {
        let mut error = Self::new(ErrorKind::App, message).with_code(code);
        error.0.status = status;
        error
    }

    /// The same error under another code (an UPPER_SNAKE word).
    pub fn with_code(mut self, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.code = code.into();
        self
    }

    /// The same error with details for the client (a JSON object).
    pub fn with_details(mut self, details: Value) -> Self {
        self.0.details = Some(details);
        self
    }

    /// The same error with its cause below it, for the log.
    pub fn with_source(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The same error for another one who waited for the same thing: all that a caller is told. Its cause stays with the original.
    #[must_use]
    pub fn for_another(&self) -> Self {
        let Repr { kind, code, status, message, details, retry_after_s, wish, source: _ } = &*self.0;
        Self(Box::new(Repr {
            kind: *kind,
            code: code.clone(),
            status: *status,
            message: message.clone(),
            details: details.clone(),
            retry_after_s: *retry_after_s,
            wish: *wish,
            source: None,
        }))
    }

    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The stable word for it, such as `NOT_FOUND`.
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// The sentence for people, as the server knows it. What a client may see is [`public_message`](Self::public_message).
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Details for the client, when there are any.
    pub fn details(&self) -> Option<&Value> {
        self.0.details.as_ref()
    }

    /// The HTTP status that this error is answered with.
    pub fn http_status(&self) -> u16 {
        self.0.status
    }

    /// After how many seconds a repeat makes sense, when known.
    pub fn retry_after_s(&self) -> Option<u32> {
        self.0.retry_after_s
    }

    /// What it asks for when a job returns it: see [`retry_in`](Self::retry_in) and [`cancel`](Self::cancel).
    pub fn wish(&self) -> Option<Wish> {
        self.0.wish
    }

    /// The cause, when there is one.
    pub fn source(&self) -> Option<&(dyn std::error::Error + Send + Sync + 'static)> {
        self.0.source.as_deref()
    }

    /// Whether the same call may succeed when repeated as it is, with nothing done twice.
    pub fn is_retryable(&self) -> bool {
        matches!(self.0.kind, ErrorKind::DatabaseUnavailable | ErrorKind::RateLimited)
    }

    /// What a client may read. Mistakes of the server itself say no more than that they happened: their messages
    /// can name tables, hosts or values.
    pub fn public_message(&self) -> &str {
        match self.0.kind {
            ErrorKind::Internal | ErrorKind::Database | ErrorKind::Config => {
                "something went wrong on the server; the log has it under this request's id"
            }
            _ => &self.0.message,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code, self.0.message)?;
        let mut source = self.0.source.as_deref().map(|s| s as &dyn std::error::Error);
        while let Some(cause) = source {
            write!(f, "\n  caused by: {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as &(dyn std::error::Error + 'static))
    }
}

/// Turns any error into a FORGE one, with a sentence that says what was being done.
///
/// ```
/// use forge_core::{Result, ResultExt};
///
/// fn port(text: &str) -> Result<u16> {
///     text.parse().context("reading the port")
/// }
/// assert_eq!(port("x").unwrap_err().code(), "INTERNAL_ERROR");
/// ```
pub trait ResultExt<T> {
    /// An [`ErrorKind::Internal`] error with this sentence, and the original as its source.
    fn context(self, message: impl Into<Cow<'static, str>>) -> Result<T>;
}

impl<T, E: Into<Source>> ResultExt<T> for std::result::Result<T, E> {
    fn context(self, message: impl Into<Cow<'static, str>>) -> Result<T> {
        self.map_err(|source| Error::internal(message).with_source(source))
    }
}

/// Errors of the standard library and of serde that app code meets most often become internal errors, so that `?`
/// works on them; anything else says what it was doing with [`ResultExt::context`].
macro_rules! internal_from {
    ($($source:ty),* $(,)?) => {$(
        impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Error::internal(source.to_string()).with_source(source)
            }
        }
    )*};
}

internal_from!(
    serde_json::Error,
    std::io::Error,
    std::fmt::Error,
    std::num::ParseIntError,
    std::num::ParseFloatError,
    std::num::TryFromIntError,
    std::str::Utf8Error,
    std::string::FromUtf8Error,
    std::time::SystemTimeError,
    jiff::Error,
    uuid::Error,
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_word_wide() {
        assert_eq!(std::mem::size_of::<Error>(), std::mem::size_of::<usize>());
    }

    #[test]
    fn a_server_mistake_tells_the_client_nothing() {
        let error = Error::internal("password column of table users is null");
        assert!(!error.public_message().contains("users"));
        assert!(error.message().contains("users"));
    }

    #[test]
    fn a_job_may_ask_for_something_else_than_its_policy() {
        let later = Error::retry_in(Duration::from_millis(1500));
        assert_eq!(later.wish(), Some(Wish::RetryIn(Duration::from_millis(1500))));
        assert_eq!((later.code(), later.http_status(), later.retry_after_s()), ("RETRY_LATER", 503, Some(2)));
        assert_eq!(Error::retry_in(Duration::MAX).retry_after_s(), Some(u32::MAX));
        let never = Error::cancel("the card is gone");
        assert_eq!((never.wish(), never.code(), never.message()), (Some(Wish::Cancel), "CANCELLED", "the card is gone"));
        assert_eq!(never.for_another().wish(), Some(Wish::Cancel));
        assert_eq!(Error::cancelled().wish(), None);
    }

    #[test]
    fn an_app_error_keeps_its_own_code_and_status() {
        let error = Error::app("COLUMN_FULL", 409, "the column holds 10 cards");
        assert_eq!((error.code(), error.http_status()), ("COLUMN_FULL", 409));
        assert_eq!(error.public_message(), "the column holds 10 cards");
    }
}
