//! The parts of an expression: what may stand in each, and how it is read.

use super::shortened;

/// One of the parts of an expression.
pub(super) struct Part {
    /// What it is called in messages.
    pub(super) name: &'static str,
    /// Its least and its greatest number.
    pub(super) range: (u8, u8),
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

const fn part(name: &'static str, low: u8, high: u8, words: &'static [&'static str], kind: Kind) -> Part {
    Part { name, range: (low, high), words, kind }
}

pub(super) const PARTS: [Part; 6] = [
    part("second", 0, 59, &[], Kind::Plain),
    part("minute", 0, 59, &[], Kind::Plain),
    part("hour", 0, 23, &[], Kind::Plain),
    part("day of month", 1, 31, &[], Kind::DayOfMonth),
    part("month", 1, 12, MONTHS, Kind::Plain),
    part("day of week", 0, 7, DAYS, Kind::DayOfWeek),
];

pub(super) const DAY: usize = 3;
pub(super) const MONTH: usize = 4;
pub(super) const WEEKDAY: usize = 5;

impl Part {
    /// Reads what is given for the part, and writes it in numbers.
    pub(super) fn read(&self, given: &str) -> Result<String, String> {
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
