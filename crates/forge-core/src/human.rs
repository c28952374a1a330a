//! Durations and sizes as people write them: `500ms`, `30s`, `5m`, `1h`, `7d`, `512Ki`, `10MB`.
//!
//! One parser for attributes, forge.toml, the environment and the command line.

use std::time::Duration;

/// Reads a duration: a number with a unit (`ms`, `s`, `m`, `h`, `d`), several of them in a row (`1h30m`), or a
/// plain number of seconds.
///
/// # Errors
/// A sentence that says what is wrong and shows the accepted form.
///
/// ```
/// use std::time::Duration;
/// use forge_core::human::parse_duration;
/// assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
/// assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
/// assert!(parse_duration("5 parsecs").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = |why: &str| format!("`{text}` is not a duration: {why}; write it like 250ms, 30s, 5m, 1h30m or 7d");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong("it is empty"));
    }
    let mut total_ms: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = leading_number(rest).ok_or_else(|| wrong("a number is expected"))?;
        let unit_len = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_len);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            // A plain number is seconds, but only on its own: `1h30` is more likely a slip than 30 seconds.
            "" if text.trim().bytes().all(|b| b.is_ascii_digit()) => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(wrong("a unit is missing")),
            other => return Err(wrong(&format!("`{other}` is not a unit"))),
        };
        let part = number.checked_mul(unit_ms).ok_or_else(|| wrong("it is too long"))?;
        total_ms = total_ms.checked_add(part).ok_or_else(|| wrong("it is too long"))?;
        rest = after;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Writes a duration the way [`parse_duration`] reads it.
pub fn format_duration(duration: Duration) -> String {
    let mut ms = duration.as_millis();
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::new();
    for (unit, unit_ms) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if ms >= unit_ms {
            text.push_str(&format!("{}{unit}", ms / unit_ms));
            ms %= unit_ms;
        }
    }
    text
}

/// Reads a size in bytes: a number with `B`, `KB`, `MB`, `GB` (thousands), `Ki`, `Mi`, `Gi` (1024s, an ending `B`
/// allowed), or a plain number of bytes.
///
/// # Errors
/// A sentence that says what is wrong and shows the accepted form.
///
/// ```
/// use forge_core::human::parse_size;
/// assert_eq!(parse_size("1Mi"), Ok(1 << 20));
/// assert_eq!(parse_size("10 MB"), Ok(10_000_000));
/// assert!(parse_size("ten").is_err());
/// ```
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| format!("`{text}` is not a size: {why}; write it like 65536, 64Ki, 1Mi or 10MB");
    let (number, unit) = leading_number(text.trim()).ok_or_else(|| wrong("a number is expected"))?;
    let factor: u64 = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "Ki" | "KiB" => 1 << 10,
        "Mi" | "MiB" => 1 << 20,
        "Gi" | "GiB" => 1 << 30,
        other => return Err(wrong(&format!("`{other}` is not a unit"))),
    };
    number.checked_mul(factor).ok_or_else(|| wrong("it is too large"))
}

fn leading_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, ms) in [("0s", 0), ("30", 30_000), ("1d2h", 93_600_000), ("1s500ms", 1500), (" 5m ", 300_000)] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "1x", "1h30", "-1s", "1.5s", "99999999999999999999s", "99999999999999999d"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_written_duration_reads_back() {
        for ms in [0, 1, 999, 1000, 61_001, 90_061_001] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        for text in ["", "1kb", "1 m", "-1", "18446744073709551615Gi"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
