//! Cron expressions: what may be written, and what is wrong with what is not.
//!
//! The attribute checks with this while an app is compiled, the scheduler when it starts. It depends on nothing but the standard
//! library, as `forge-macros` compiles this file too.

/// One of the parts of an expression.
struct Part {
    /// What it is called in messages.
    name: &'static str,
    /// Its least and its greatest number.
    range: (u8, u8),
    /// Words for its numbers: the first is for the least.
    words: &'static [&'static str],
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    DayOfMonth,
    DayOfWeek,
}

const MONTHS: &[&str] = &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: &[&str] = &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// The longest months, February in a leap year.
const DAYS_OF_MONTHS: [u8; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const fn part(name: &'static str, low: u8, high: u8, words: &'static [&'static str], kind: Kind) -> Part {
    Part { name, range: (low, high), words, kind }
}

const PARTS: [Part; 6] = [
    part("second", 0, 59, &[], Kind::Plain),
    part("minute", 0, 59, &[], Kind::Plain),
    part("hour", 0, 23, &[], Kind::Plain),
    part("day of month", 1, 31, &[], Kind::DayOfMonth),
    part("month", 1, 12, MONTHS, Kind::Plain),
    part("day of week", 0, 7, DAYS, Kind::DayOfWeek),
];

const DAY: usize = 3;
const MONTH: usize = 4;
const WEEKDAY: usize = 5;

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

/// The expression that is due each time so many milliseconds have passed, counted from midnight.
///
/// # Errors
/// When a day does not consist of such pieces.
pub fn every(milliseconds: u64) -> Result<String, String> {
    let seconds = milliseconds / 1000;
    if milliseconds == 0 || !milliseconds.is_multiple_of(1000) {
        return Err("a schedule goes by whole seconds".into());
    }
    let (minutes, hours) = (seconds / 60, seconds / 3600);
    let step = |count: u64| if count == 1 { "*".to_owned() } else { format!("*/{count}") };
    if seconds < 60 && 60 % seconds == 0 {
        return Ok(format!("{} * * * * *", step(seconds)));
    }
    if seconds.is_multiple_of(60) && minutes < 60 && 60 % minutes == 0 {
        return Ok(format!("0 {} * * * *", step(minutes)));
    }
    if seconds.is_multiple_of(3600) && hours < 24 && 24 % hours == 0 {
        return Ok(format!("0 0 {} * * *", step(hours)));
    }
    if hours == 24 && seconds.is_multiple_of(3600) {
        return Ok("0 0 0 * * *".into());
    }
    let fits = |count: u64, whole: u64, unit: u64| {
        (1..=whole)
            .filter(|piece| whole.is_multiple_of(*piece))
            .map(|piece| piece * unit)
            .min_by_key(|piece| piece.abs_diff(count))
    };
    let near = [fits(seconds, 60, 1), fits(seconds, 60, 60), fits(seconds, 24, 3600)];
    let near = near.into_iter().flatten().min_by_key(|piece| piece.abs_diff(seconds)).unwrap_or(60);
    let near = match near {
        near if near % 86_400 == 0 => format!("{}d", near / 86_400),
        near if near % 3600 == 0 => format!("{}h", near / 3600),
        near if near % 60 == 0 => format!("{}m", near / 60),
        near => format!("{near}s"),
    };
    Err(format!(
        "neither a minute, an hour nor a day can be divided into such pieces, so they would not be even; the nearest that fits is \"{near}\", and an expression can name the times one by one"
    ))
}

/// The expression that is due once a day at a time such as `09:00` or `23:59:30`.
///
/// # Errors
/// When that is no time of day.
pub fn daily_at(time: &str) -> Result<String, String> {
    let wrong = || format!("`{}` is no time of day; write it like \"09:00\" or \"23:59:30\"", shortened(time));
    let mut numbers = Vec::new();
    for piece in time.trim().split(':') {
        let valid = piece.len() == 2 && piece.bytes().all(|byte| byte.is_ascii_digit());
        numbers.push(piece.parse::<u8>().ok().filter(|_| valid).ok_or_else(wrong)?);
    }
    let (hour, minute, second) = match numbers.as_slice() {
        [hour, minute] => (*hour, *minute, 0),
        [hour, minute, second] => (*hour, *minute, *second),
        _ => return Err(wrong()),
    };
    if hour > 23 || minute > 59 || second > 59 {
        return Err(wrong());
    }
    Ok(format!("{second} {minute} {hour} * * *"))
}

/// Checks that a text looks like the name of a time zone. Whether there is one of this name is found out when the app starts.
///
/// # Errors
/// When no zone could be called that.
pub fn zone_name(name: &str) -> Result<(), String> {
    let valid = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-+/".contains(c))
        && !name.ends_with('/')
        && !name.contains("//");
    if valid {
        return Ok(());
    }
    Err(format!(
        "`{}` is no name of a time zone; they are called \"UTC\", \"Europe/Berlin\", \"Asia/Colombo\"",
        shortened(name)
    ))
}

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

impl Part {
    /// Reads what is given for the part, and writes it in numbers.
    fn read(&self, given: &str) -> Result<String, String> {
        if given == "*" || (given == "?" && self.kind != Kind::Plain) {
            return Ok("*".into());
        }
        let items: Vec<&str> = given.split(',').collect();
        if items.iter().any(|item| item.is_empty()) {
            return Err(format!("a comma has a value on both sides{}", self.fix(given.trim_matches(',').to_owned())));
        }
        let written = items.into_iter().map(|item| self.item(item)).collect::<Result<Vec<String>, String>>()?;
        if written.len() > 1 {
            if written.iter().any(|item| item == "*") {
                return Err("`*` is every value already, so nothing can be listed beside it".into());
            }
            if written.iter().any(|item| item == "LW") && written.iter().any(|item| item == "L") {
                return Err("`L` and `LW` cannot be listed together".into());
            }
        }
        Ok(written.join(","))
    }

    /// One item of a list.
    fn item(&self, item: &str) -> Result<String, String> {
        if let Some((range, step)) = item.split_once('/') {
            return self.stepped(range, step);
        }
        if let Some(special) = self.special(item) {
            return special;
        }
        if item == "*" || (item == "?" && self.kind != Kind::Plain) {
            return Ok("*".into());
        }
        match item.split_once('-') {
            Some((first, last)) => {
                let (first, last) = self.range_of(first, last)?;
                Ok(format!("{first}-{last}"))
            }
            None => self.number(item).map(|number| number.to_string()),
        }
    }

    fn stepped(&self, range: &str, step: &str) -> Result<String, String> {
        let (low, high) = self.range;
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => self.range_of(first, last)?,
            None if range == "*" => (low, high),
            None if range.is_empty() => {
                return Err(format!("a step needs what it steps through{}", self.fix(format!("*/{step}"))));
            }
            None => {
                let first = self.number(range)?;
                return Err(format!("a step needs a range{}", self.fix(format!("{first}-{}/{step}", self.top()))));
            }
        };
        let width = last - first + 1;
        let Some(number) = digits(step) else {
            return Err(format!("after `/` comes a whole number, such as `{range}/2`"));
        };
        if number == 0 {
            return Err(format!("a step of 0 goes nowhere{}", self.fix(format!("{range}/1"))));
        }
        if number >= u32::from(width) {
            return Err(format!(
                "a step of {number} leaves the first value alone, as there are {width}{}",
                self.fix(first.to_string())
            ));
        }
        Ok(if range == "*" { format!("*/{number}") } else { format!("{first}-{last}/{number}") })
    }

    fn range_of(&self, first: &str, last: &str) -> Result<(u8, u8), String> {
        let (from, mut to) = (self.number(first)?, self.number(last)?);
        // Sunday ends a week as well as it begins one.
        if self.kind == Kind::DayOfWeek && to == 0 && from > 0 {
            to = 7;
        }
        if from > to {
            let (low, _) = self.range;
            return Err(format!("{from} is after {to}{}", self.fix(format!("{from}-{},{low}-{to}", self.top()))));
        }
        Ok((from, to))
    }

    /// `L`, `LW`, `15W`, `5L`, `FRI#2`: `None` when it is none of these.
    fn special(&self, item: &str) -> Option<Result<String, String>> {
        let upper = item.to_ascii_uppercase();
        match self.kind {
            Kind::Plain => None,
            Kind::DayOfMonth => match upper.as_str() {
                "L" | "LW" => Some(Ok(upper)),
                _ if upper.starts_with("L-") => {
                    Some(Err("days cannot be counted from the end; `L` is the last one, `LW` the last working day".into()))
                }
                _ => {
                    let day = upper.strip_suffix('W')?;
                    Some(self.number(day).map(|day| format!("{day}W")))
                }
            },
            Kind::DayOfWeek => {
                if upper == "L" {
                    return Some(Err(format!("`L` needs a day: the last of which{}", self.fix("FRIL".into()))));
                }
                let (day, nth) = match upper.split_once('#') {
                    Some((day, nth)) => (day.to_owned(), nth.to_owned()),
                    None => (upper.strip_suffix('L')?.to_owned(), "L".to_owned()),
                };
                let day = match self.number(&day) {
                    Ok(day) => day % 7,
                    Err(why) => return Some(Err(why)),
                };
                Some(match nth.as_str() {
                    "L" | "1" | "2" | "3" | "4" | "5" => Ok(format!("{day}#{nth}")),
                    _ => Err("after `#` comes 1 to 5, or `L` for the last of the month".into()),
                })
            }
        }
    }

    /// A number of the part, or a word for one.
    fn number(&self, text: &str) -> Result<u8, String> {
        let (low, high) = self.range;
        if let Some(number) = digits(text) {
            return u8::try_from(number).ok().filter(|number| (low..=high).contains(number)).ok_or_else(|| {
                let near = if number < u32::from(low) { low } else { self.top() };
                format!("{} is not {}{}", shortened(text), self.allowed(), self.fix(near.to_string()))
            });
        }
        if let Some(index) = self.words.iter().position(|word| word.eq_ignore_ascii_case(text)) {
            return Ok(low + u8::try_from(index).unwrap_or_default());
        }
        let fix = self.nearest_word(text).map(|word| self.fix(word.to_owned())).unwrap_or_default();
        Err(format!("`{}` is not {}{fix}", shortened(text), self.allowed()))
    }

    /// The word that begins as the text does, or differs from its beginning in one letter.
    fn nearest_word(&self, text: &str) -> Option<&'static str> {
        let start: Vec<char> = text.chars().take(3).map(|c| c.to_ascii_uppercase()).collect();
        let likeness = |word: &str| word.chars().zip(&start).filter(|(a, b)| a == *b).count();
        let best = self.words.iter().copied().max_by_key(|word| likeness(word))?;
        (start.len() >= 2 && likeness(best) >= 2).then_some(best)
    }

    /// The greatest number that people write: Sunday is 0 first.
    fn top(&self) -> u8 {
        if self.kind == Kind::DayOfWeek { 6 } else { self.range.1 }
    }

    fn allowed(&self) -> String {
        let (low, high) = self.range;
        let words = match self.words {
            [first, .., last] => format!(" or {first} to {last}"),
            _ => String::new(),
        };
        format!("{low} to {high}{words}")
    }

    fn fix(&self, meant: String) -> String {
        if meant.is_empty() { String::new() } else { format!("; did you mean `{}`?", shortened(&meant)) }
    }
}

/// A number without a sign.
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // What is too large for the type is too large for a part as well.
    plain.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(text: &str, written: &str) {
        assert_eq!(normalise(text).as_deref(), Ok(written), "{text}");
    }

    fn wrong(text: &str, parts: &[&str]) {
        let why = normalise(text).unwrap_err();
        for part in parts {
            assert!(why.contains(part), "{text}: {why}");
        }
    }

    #[test]
    fn five_and_six_parts_become_numbers() {
        same("0 9 * * 1-5", "0 0 9 * * 1-5");
        same("  30 0 9 * * *  ", "30 0 9 * * *");
        same("*/15 * ? jan,Dec mon-FRI", "0 */15 * * 1,12 1-5");
        same("0 0 * * FRI-SUN", "0 0 0 * * 5-7");
        same("0 0 * * SUN,7,0", "0 0 0 * * 0,7,0");
        same("0-30/10,45 1-5 1,15 * *", "0 0-30/10,45 1-5 1,15 * *");
        same("0 12 L * ?", "0 0 12 L * *");
        same("0 12 lw,15w * *", "0 0 12 LW,15W * *");
        same("0 12 * * fri#2,MONL,0#L", "0 0 12 * * 5#2,1#L,0#L");
        same("@Daily", "0 0 0 * * *");
        same("0 0 29 2 *", "0 0 0 29 2 *");
        same("0 0 30 2,4 *", "0 0 0 30 2,4 *");
        same("0 0 30 2 MON", "0 0 0 30 2 1");
        same("0 0 */30 2 *", "0 0 0 */30 2 *");
    }

    #[test]
    fn a_mistake_is_named_with_its_part_what_is_allowed_and_what_was_meant() {
        wrong("", &["missing", "minute hour day-of-month"]);
        wrong("* * *", &["3 parts", "minute hour day-of-month"]);
        wrong("hourly", &["one part"]);
        wrong("0 0 9 * * * 2027", &["7 parts", "year"]);
        wrong("@reboot", &["`@hourly`"]);
        wrong("60 * * * *", &["minute", "60 is not 0 to 59", "did you mean `59`"]);
        wrong("0 24 * * *", &["hour", "0 to 23", "`23`"]);
        wrong("0 0 0 * *", &["day of month", "1 to 31", "`1`"]);
        wrong("0 0 * 13 *", &["month", "JAN to DEC", "`12`"]);
        wrong("0 0 * Sept *", &["month", "did you mean `SEP`"]);
        wrong("0 0 * * Monday", &["day of week", "SUN to SAT", "did you mean `MON`"]);
        wrong("0 0 * * 8", &["day of week", "0 to 7", "`6`"]);
        wrong("5/10 * * * *", &["minute", "`5-59/10`"]);
        wrong("/5 * * * *", &["`*/5`"]);
        wrong("*/0 * * * *", &["step of 0", "`*/1`"]);
        wrong("*/60 * * * *", &["step of 60", "`0`"]);
        wrong("*/x * * * *", &["whole number"]);
        wrong("0 22-4 * * *", &["22 is after 4", "`22-23,0-4`"]);
        wrong("1,,2 * * * *", &["comma"]);
        wrong("1, * * * *", &["comma", "`1`"]);
        wrong("*,5 * * * *", &["every value already"]);
        wrong("-5 * * * *", &["minute"]);
        wrong("? * * * *", &["minute"]);
        wrong("0 0 L-3 * *", &["from the end"]);
        wrong("0 0 * * L", &["`FRIL`"]);
        wrong("0 0 * * FRI#6", &["1 to 5"]);
        wrong("0 0 15# * *", &["day of month"]);
        wrong("0 0 30 2 *", &["never", "29 days"]);
        wrong("0 0 31 4,6,9,11 *", &["never", "30 days"]);
        wrong("0 0 31W 2-2 ?", &["never"]);
        wrong(&"9".repeat(501), &["501 bytes", "..."]);
        wrong("99999999999999999999 * * * *", &["0 to 59"]);
        wrong("ä * * ö *", &["minute", "`ä`"]);
    }

    #[test]
    fn pieces_of_a_day() {
        for (ms, written) in [
            (1_000, "* * * * * *"),
            (15_000, "*/15 * * * * *"),
            (60_000, "0 * * * * *"),
            (300_000, "0 */5 * * * *"),
            (3_600_000, "0 0 * * * *"),
            (21_600_000, "0 0 */6 * * *"),
            (86_400_000, "0 0 0 * * *"),
        ] {
            assert_eq!(every(ms).as_deref(), Ok(written));
            assert_eq!(normalise(written).as_deref(), Ok(written));
        }
        for (ms, near) in
            [(7_000, "\"6s\""), (420_000, "\"6m\""), (90_000, "\"1m\""), (18_000_000, "\"4h\""), (172_800_000, "\"1d\"")]
        {
            assert!(every(ms).unwrap_err().contains(near), "{ms}: {}", every(ms).unwrap_err());
        }
        assert!(every(0).is_err() && every(1_500).is_err());
    }

    #[test]
    fn times_of_day() {
        assert_eq!(daily_at("09:00").as_deref(), Ok("0 0 9 * * *"));
        assert_eq!(daily_at("23:59:30").as_deref(), Ok("30 59 23 * * *"));
        for text in ["", "9", "9:00", "24:00", "09:60", "09:00:60", "09:00:00:00", "+9:00", "09.00", "9 am"] {
            assert!(daily_at(text).unwrap_err().contains("09:00"), "{text}");
        }
    }

    #[test]
    fn names_of_zones() {
        for name in ["UTC", "Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5"] {
            assert_eq!(zone_name(name), Ok(()));
        }
        for name in ["", "+02:00", "Europe/", "Europe//Berlin", "Europa Berlin", "/etc/localtime", "../UTC"] {
            assert!(zone_name(name).unwrap_err().contains("Europe/Berlin"), "{name}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let letters: Vec<char> = "0123456789*/-,#?LWLSUNMONJANFEB @äé\u{1f980}\t\n".chars().collect();
        let mut dice = 0x2545_f491_4f6c_dd1d_u64;
        let mut roll = |below: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % below as u64).unwrap_or_default()
        };
        let mut accepted = 0;
        for _ in 0..10_000 {
            let length = roll(24);
            let text: String = (0..length).map(|_| letters[roll(letters.len())]).collect();
            let good = ["*", "*/5", "1-3", "2,4", "1", "?"];
            let five: Vec<String> = (0..5 + roll(2))
                .map(|_| match roll(4) {
                    0 => (0..=roll(4)).map(|_| letters[roll(32)]).filter(|c| *c != ' ').collect(),
                    _ => good[roll(good.len())].to_owned(),
                })
                .collect();
            for text in [text, five.join(" ")] {
                if let Ok(written) = normalise(&text) {
                    accepted += 1;
                    // What was written once is read as it is.
                    assert_eq!(normalise(&written).as_deref(), Ok(written.as_str()), "{text}");
                }
                let _ = (daily_at(&text), zone_name(&text));
            }
        }
        assert!(accepted > 0);
    }
}
