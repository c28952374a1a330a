//! What is known about a request besides who makes it: its ids, its place in a trace, where it comes from.

use std::fmt;
use std::net::IpAddr;

/// A place in a distributed trace, as the W3C `traceparent` header carries it: it travels with every call, and
/// with everything that a call sets off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    /// The trace: the same for everything that one first request caused. Never zero.
    pub trace_id: u128,
    /// The span that is the parent of what happens next. Never zero.
    pub span_id: u64,
    /// Whether the one who began the trace records it.
    pub sampled: bool,
}

impl TraceContext {
    /// Reads a `traceparent` header, version `00` or a later one that begins the same way.
    ///
    /// Returns `None` for anything malformed: as the recommendation says, a broken header starts a new trace
    /// instead of failing the request.
    ///
    /// ```
    /// use forge_core::request::TraceContext;
    /// let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    /// assert_eq!(TraceContext::parse(text).unwrap().to_string(), text);
    /// ```
    pub fn parse(header: &str) -> Option<Self> {
        let header = header.trim();
        let mut parts = header.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let sizes = version.len() == 2 && trace.len() == 32 && span.len() == 16 && flags.len() == 2;
        let lower_hex = |s: &str| s.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !sizes || ![version, trace, span, flags].into_iter().all(lower_hex) || version == "ff" {
            return None;
        }
        // Version 00 has exactly four parts; a later version may add some.
        if version == "00" && parts.next().is_some() {
            return None;
        }
        let context = Self {
            trace_id: u128::from_str_radix(trace, 16).ok()?,
            span_id: u64::from_str_radix(span, 16).ok()?,
            sampled: u8::from_str_radix(flags, 16).ok()? & 1 == 1,
        };
        (context.trace_id != 0 && context.span_id != 0).then_some(context)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{:032x}-{:016x}-{:02x}", self.trace_id, self.span_id, u8::from(self.sampled))
    }
}

/// What is known about a request.
#[derive(Debug, Clone)]
pub struct RequestMetadata {
    /// The id of this request: the client's `x-request-id` when it is well-formed, else a new one. In every answer,
    /// log line and error.
    pub request_id: String,
    /// The client's `x-correlation-id`, when it sent one: ties several requests of one action of a user together.
    pub correlation_id: Option<String>,
    /// Where in a trace this happens.
    pub trace: TraceContext,
    /// The client's address, seen through trusted proxies only.
    pub client_ip: Option<IpAddr>,
    /// The client's `user-agent`, at most 256 characters of it.
    pub user_agent: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, valid: bool) {
        assert_eq!(TraceContext::parse(header).is_some(), valid, "{header}");
    }

    #[test]
    fn traceparent_is_read_as_the_recommendation_says() {
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", true);
        check("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes-later", true);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-extra", false);
        check("ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
        check("00-00000000000000000000000000000000-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01", false);
        check("00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01", false);
        check("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", false);
        check("", false);
        check("é0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", false);
    }
}
