//! Cron expressions: what may be written, and what is wrong with what is not.
//!
//! The attribute checks with this while an app is compiled, the scheduler when it starts. It depends on nothing but the standard
//! library, as `forge-macros` compiles this folder too.

mod part;
#[cfg(test)]
mod tests;
mod times;

use self::part::{DAY, MONTH, PARTS, WEEKDAY};
pub use self::times::{daily_at, every, zone_name};

/// The longest months, February in a leap year.
const DAYS_OF_MONTHS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const SHORTHANDS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// No expression is longer, in bytes.
const MAX_BYTES: usize = 500;

/// Checks an expression and writes it in one form: six parts, the second first, in numbers. `*` stays where a part says nothing.
///
/// | in a part | means |
/// |---|---|
/// | `*` | every value; for days also `?` |
/// | `5`, `MON`, `JAN` | this one; Sunday is 0 and 7 |
/// | `9-17`, `MON-FRI` | from, to, both included |
/// | `*/15`, `9-17/2` | every so many |
/// | `1,15,30` | each of these |
/// | `L`, `LW`, `15W` as day of month | the last day; the last working day; the working day that is nearest to the 15th |
/// | `FRI#2`, `FRIL` as day of week | the second, the last Friday of the month |
///
/// When both kinds of day are given, either is enough. `@hourly`, `@daily`, `@midnight`, `@weekly`, `@monthly` and `@yearly` stand
/// for expressions.
///
/// # Errors
/// A sentence that names the part, says what may stand there, and what was probably meant.
pub fn normalise(expression: &str) -> Result<String, String> {
    let text = expression.trim();
    let wrong = |why: String| format!("`{}` is no schedule: {why}", shortened(text));
    if text.is_empty() {
        return Err(format!("a schedule is missing; {FORM}"));
    }
    if text.len() > MAX_BYTES {
        return Err(wrong(format!("it has {} bytes, and {MAX_BYTES} are allowed", text.len())));
    }
    if text.starts_with('@') {
        let known = SHORTHANDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
        let (_, meaning) = known.ok_or_else(|| {
            let words: Vec<String> = SHORTHANDS.iter().map(|(word, _)| format!("`{word}`")).collect();
            wrong(format!("there is {}", words.join(", ")))
        })?;
        return normalise(meaning);
    }
    let mut parts: Vec<&str> = text.split_ascii_whitespace().collect();
    match parts.len() {
        5 => parts.insert(0, "0"),
        6 => {}
        7 => return Err(wrong(format!("it has 7 parts, and there is none for the year; {FORM}"))),
        1 => return Err(wrong(format!("it has one part; {FORM}"))),
        count => return Err(wrong(format!("it has {count} parts; {FORM}"))),
    }
    let mut written = Vec::with_capacity(PARTS.len());
    for (part, given) in PARTS.iter().zip(&parts) {
        let read = part.read(given);
        written.push(read.map_err(|why| wrong(format!("`{}` cannot be its {}: {why}", shortened(given), part.name)))?);
    }
    never(&written).map_or_else(|| Ok(written.join(" ")), |why| Err(wrong(why)))
}

const FORM: &str =
    "write `minute hour day-of-month month day-of-week`, such as \"0 9 * * MON-FRI\", or the second before these five";

/// The text, cut where it would fill the screen.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(57).chain("...".chars()).collect() }
}

/// Why an expression would never be due, if so: it names days that its months do not have.
fn never(parts: &[String]) -> Option<String> {
    if parts[WEEKDAY] != "*" || parts[DAY] == "*" {
        return None;
    }
    let days: Option<Vec<u8>> = parts[DAY]
        .split(',')
        .map(|item| match item.split_once(['-', '/']) {
            // Of a range or a step, the first is the least.
            Some((first, _)) => {
                if first == "*" {
                    Some(1)
                } else {
                    first.parse().ok()
                }
            }
            None => item.trim_end_matches('W').parse().ok(),
        })
        .collect();
    // `L` is in every month.
    let least = days?.into_iter().min()?;
    let months = values(&parts[MONTH], PARTS[MONTH].range);
    let longest = months.iter().map(|month| DAYS_OF_MONTHS[usize::from(*month) - 1]).max()?;
    (least > longest)
        .then(|| format!("it would never be due, as its months have {longest} days at most and its first day is {least}"))
}

/// The values of a part that has been checked, of numbers alone.
fn values(part: &str, (low, high): (u8, u8)) -> Vec<u8> {
    let mut values = Vec::new();
    for item in part.split(',') {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (first.parse().unwrap_or(low), last.parse().unwrap_or(high)),
            None if range == "*" => (low, high),
            None => (range.parse().unwrap_or(low), range.parse().unwrap_or(low)),
        };
        values.extend((first..=last).step_by(step.parse::<usize>().unwrap_or(1).max(1)));
    }
    values
}
