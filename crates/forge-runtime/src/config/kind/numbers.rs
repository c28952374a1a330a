//! Numbers, switches, durations and sizes.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use forge_core::human;

use super::super::node::{Node, Value};
use super::{Kind, Wrong, quoted, unexpected, wrong};

/// A whole number within limits.
pub(in crate::config) fn int<T>(limits: RangeInclusive<T>) -> Int<T> {
    Int(limits)
}

/// See [`int`].
pub(in crate::config) struct Int<T>(RangeInclusive<T>);

impl<T: TryFrom<i64> + PartialOrd + Display + Send + Sync> Kind<T> for Int<T> {
    fn expected(&self) -> String {
        format!("a whole number from {} to {}", self.0.start(), self.0.end())
    }

    fn read(&self, node: &Node) -> Result<T, Vec<Wrong>> {
        let number = match &node.value {
            Value::Integer(number) => *number,
            Value::Text { text, loose: true } => match text.trim().parse() {
                Ok(number) => number,
                Err(_) => return unexpected(self.expected(), node),
            },
            _ => return unexpected(self.expected(), node),
        };
        match T::try_from(number).ok().filter(|number| self.0.contains(number)) {
            Some(number) => Ok(number),
            None => wrong(node, format!("expected {}, found {number}", Kind::<T>::expected(self))),
        }
    }

    fn show(&self, value: &T) -> String {
        value.to_string()
    }
}

/// A number from 0 to 1.
pub(in crate::config) fn share() -> Share {
    Share
}

/// See [`share`].
pub(in crate::config) struct Share;

impl Kind<f64> for Share {
    fn expected(&self) -> String {
        "a number from 0.0 to 1.0".into()
    }

    fn read(&self, node: &Node) -> Result<f64, Vec<Wrong>> {
        let number = match &node.value {
            Value::Float(number) => *number,
            Value::Integer(0) => 0.0,
            Value::Integer(1) => 1.0,
            Value::Text { text, loose: true } => text.trim().parse().unwrap_or(f64::NAN),
            _ => return unexpected(self.expected(), node),
        };
        if (0.0..=1.0).contains(&number) { Ok(number) } else { wrong(node, format!("expected {}", self.expected())) }
    }

    fn show(&self, value: &f64) -> String {
        format!("{value:?}")
    }
}

/// `true` or `false`.
pub(in crate::config) fn switch() -> Switch {
    Switch
}

/// See [`switch`].
pub(in crate::config) struct Switch;

impl Kind<bool> for Switch {
    fn expected(&self) -> String {
        "true or false".into()
    }

    fn read(&self, node: &Node) -> Result<bool, Vec<Wrong>> {
        match &node.value {
            Value::Bool(on) => Ok(*on),
            Value::Text { text, loose: true } if text.trim() == "true" => Ok(true),
            Value::Text { text, loose: true } if text.trim() == "false" => Ok(false),
            _ => unexpected(self.expected(), node),
        }
    }

    fn show(&self, value: &bool) -> String {
        value.to_string()
    }
}

/// A duration within limits: `"5s"`, or a plain number of seconds.
pub(in crate::config) fn duration(limits: RangeInclusive<Duration>) -> Time {
    Time(limits)
}

/// See [`duration`].
pub(in crate::config) struct Time(RangeInclusive<Duration>);

impl Kind<Duration> for Time {
    fn expected(&self) -> String {
        let (least, most) = (human::format_duration(*self.0.start()), human::format_duration(*self.0.end()));
        format!("a duration from {least} to {most}")
    }

    fn read(&self, node: &Node) -> Result<Duration, Vec<Wrong>> {
        let duration = match &node.value {
            Value::Integer(seconds) => match u64::try_from(*seconds) {
                Ok(seconds) => Duration::from_secs(seconds),
                Err(_) => return wrong(node, format!("expected {}, found {seconds}", self.expected())),
            },
            Value::Text { text, loose } => match human::parse_duration(text) {
                Ok(duration) => duration,
                Err(problem) if !loose => return wrong(node, problem),
                Err(_) => return unexpected(format!("{} such as 250ms, 30s, 5m or 7d", self.expected()), node),
            },
            _ => return unexpected(format!("{} such as \"30s\"", self.expected()), node),
        };
        if self.0.contains(&duration) {
            return Ok(duration);
        }
        wrong(node, format!("expected {}, found {}", self.expected(), human::format_duration(duration)))
    }

    fn show(&self, value: &Duration) -> String {
        quoted(&human::format_duration(*value))
    }
}

/// A size within limits: `"1MB"`, `"64Ki"`, or a plain number of bytes.
pub(in crate::config) fn size(limits: RangeInclusive<u64>) -> Size {
    Size(limits)
}

/// See [`size`].
pub(in crate::config) struct Size(RangeInclusive<u64>);

impl Size {
    fn text(bytes: u64) -> String {
        for (unit, factor) in
            [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1_000)]
        {
            if bytes >= factor && bytes.is_multiple_of(factor) {
                return format!("{}{unit}", bytes / factor);
            }
        }
        bytes.to_string()
    }
}

impl Kind<u64> for Size {
    fn expected(&self) -> String {
        format!("a size from {} to {}", Self::text(*self.0.start()), Self::text(*self.0.end()))
    }

    fn read(&self, node: &Node) -> Result<u64, Vec<Wrong>> {
        let bytes = match &node.value {
            Value::Integer(bytes) => match u64::try_from(*bytes) {
                Ok(bytes) => bytes,
                Err(_) => return wrong(node, format!("expected {}, found {bytes}", self.expected())),
            },
            Value::Text { text, loose } => match human::parse_size(text) {
                Ok(bytes) => bytes,
                Err(problem) if !loose => return wrong(node, problem),
                Err(_) => return unexpected(format!("{} such as 64Ki, 1Mi or 10MB", self.expected()), node),
            },
            _ => return unexpected(format!("{} such as \"1Mi\"", self.expected()), node),
        };
        if self.0.contains(&bytes) {
            return Ok(bytes);
        }
        wrong(node, format!("expected {}, found {}", self.expected(), Self::text(bytes)))
    }

    fn show(&self, value: &u64) -> String {
        quoted(&Self::text(*value))
    }
}
