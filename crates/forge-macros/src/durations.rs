//! Durations as attributes write them. The grammar is that of the configuration file; it is repeated here because a
//! macro should not have to build the whole vocabulary crate first.

/// Milliseconds of `250ms`, `30s`, `5m`, `1h30m`, `7d`, or of a plain number of seconds.
pub(crate) fn milliseconds(text: &str) -> Result<u64, String> {
    let wrong = |why: &str| {
        format!("`{text}` is not a duration: {why}; write it like \"250ms\", \"30s\", \"5m\", \"1h30m\" or \"7d\"")
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(wrong("it is empty"));
    }
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    let mut rest = text;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        if number.is_empty() {
            return Err(wrong("a number is expected"));
        }
        let factor = match unit {
            "ms" => 1,
            "s" => 1_000,
            "" if plain => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(wrong("a unit is missing")),
            other => return Err(wrong(&format!("`{other}` is not a unit"))),
        };
        let part = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| wrong("it is too long"))?;
        rest = after;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, expected) in
            [("250ms", 250), ("30s", 30_000), ("30", 30_000), ("1h30m", 5_400_000), (" 5m ", 300_000), ("7d", 604_800_000)]
        {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
        for text in ["", "s", "1x", "1h30", "-1s", "1.5s", "1 s", "99999999999999999999s", "99999999999999999d"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
    }
}
