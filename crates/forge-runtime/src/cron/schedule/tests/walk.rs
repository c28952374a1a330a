//! The second implementation.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// With and without clocks that are turned, by an hour and by half of one, off the full hour, and turned for a month of the moon.
pub(super) const ZONES: [&str; 6] =
    ["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"];

const FIRST: &str = "2020-01-01T00:00:00Z";
const LAST: &str = "2030-01-01T00:00:00Z";

/// Offsets change at quarters of an hour only, which is asserted.
const QUARTER: i64 = 900;
const DAY: i64 = 86_400;

/// Ten years of a zone, a quarter of an hour after the other.
pub(super) struct Walk {
    pub(super) zone: &'static str,
    /// When each begins, and how far its clocks are ahead, in seconds.
    quarters: Vec<(i64, i64)>,
}

/// A local day, by our own calendar.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Day {
    month: i64,
    day: i64,
    weekday: i64,
    last: i64,
}

impl Walk {
    pub(super) fn new(zone: &'static str) -> Self {
        let tz = TimeZone::get(zone).unwrap();
        let (first, last): (Timestamp, Timestamp) = (FIRST.parse().unwrap(), LAST.parse().unwrap());
        for turn in tz.following(first).take_while(|turn| turn.timestamp() <= last) {
            assert_eq!(turn.timestamp().as_second() % QUARTER, 0, "{zone} at {}", turn.timestamp());
        }
        let quarters = (first.as_second()..=last.as_second()).step_by(QUARTER as usize).map(|second| {
            let offset = tz.to_offset(Timestamp::from_second(second).unwrap());
            (second, i64::from(offset.seconds()))
        });
        Self { zone, quarters: quarters.collect() }
    }

    /// All of it but the first and the last two days, so that local times have a past.
    pub(super) fn span(&self) -> (Timestamp, Timestamp) {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let (first, last) = (self.quarters[0].0, self.quarters[self.quarters.len() - 1].0);
        (at(first + 2 * DAY), at(last - 2 * DAY))
    }

    /// When the clocks are turned.
    pub(super) fn turns(&self) -> Vec<Timestamp> {
        let pairs = self.quarters.windows(2).filter(|pair| pair[0].1 != pair[1].1);
        pairs.map(|pair| Timestamp::from_second(pair[1].0).unwrap()).collect()
    }

    /// When the expression is due after the first moment, up to the second one.
    pub(super) fn due(&self, expression: &str, (from, to): (Timestamp, Timestamp)) -> Vec<Timestamp> {
        let mut parts: Vec<&str> = expression.split(' ').collect();
        if parts.len() == 5 {
            parts.insert(0, "0");
        }
        let seconds: Vec<i64> = (0..60).filter(|second| plain(parts[0], *second, 0, 59)).collect();
        let minutes: Vec<bool> = (0..60).map(|minute| plain(parts[1], minute, 0, 59)).collect();
        let hours: Vec<bool> = (0..24).map(|hour| plain(parts[2], hour, 0, 23)).collect();
        let mut due = Vec::new();
        // The latest local time that the clocks have shown: what is not later is shown again.
        let mut shown = i64::MIN;
        let (mut known, mut matches) = (i64::MIN, false);
        for (begin, offset) in &self.quarters {
            let local = begin + offset;
            let day = local.div_euclid(DAY);
            if day != known {
                known = day;
                matches = is_day(&parts, calendar(day));
            }
            let hour = local.rem_euclid(DAY) / 3600;
            if matches && hours[hour as usize] {
                for minute in 0..QUARTER / 60 {
                    let at = local + minute * 60;
                    if at > shown && minutes[(at.rem_euclid(3600) / 60) as usize] {
                        due.extend(seconds.iter().map(|second| at + second - offset));
                    }
                }
            }
            shown = shown.max(local + QUARTER - 60);
        }
        let due = due.into_iter().map(|second| Timestamp::from_second(second).unwrap());
        due.filter(|moment| *moment > from && *moment <= to).collect()
    }
}

/// The day so many days after the first of January 1970, by counting.
fn calendar(number: i64) -> Day {
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let weekday = (number + 4).rem_euclid(7);
    let (mut year, mut rest) = (1970, number);
    loop {
        let length = if leap(year) { 366 } else { 365 };
        if rest < length {
            break;
        }
        rest -= length;
        year += 1;
    }
    let mut month = 1;
    loop {
        let length = match month {
            2 if leap(year) => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        if rest < length {
            return Day { month, day: rest + 1, weekday, last: length };
        }
        rest -= length;
        month += 1;
    }
}

fn is_day(parts: &[&str], day: Day) -> bool {
    if !plain(parts[4], day.month, 1, 12) {
        return false;
    }
    let of_month = parts[3].split(',').any(|item| is_day_of_month(item, day));
    let of_week = parts[5].split(',').any(|item| is_day_of_week(item, day));
    match (parts[3], parts[5]) {
        ("*", _) => of_week,
        (_, "*") => of_month,
        _ => of_month || of_week,
    }
}

fn is_day_of_month(item: &str, day: Day) -> bool {
    // The weekday of another day of the same month.
    let weekday = |other: i64| (day.weekday + other - day.day).rem_euclid(7);
    let is_working = |other: i64| (1..=5).contains(&weekday(other));
    if item == "L" {
        return day.day == day.last;
    }
    if item == "LW" {
        return (1..=day.last).rev().find(|other| is_working(*other)) == Some(day.day);
    }
    if let Some(wanted) = item.strip_suffix('W') {
        let wanted = number(wanted);
        // The nearest; of two that are as near there is none, as a week-end has two days.
        return wanted <= day.last
            && (1..=day.last).filter(|other| is_working(*other)).min_by_key(|other| (other - wanted).abs())
                == Some(day.day);
    }
    plain(item, day.day, 1, 31)
}

fn is_day_of_week(item: &str, day: Day) -> bool {
    let nth = item.split_once('#').or_else(|| item.strip_suffix('L').map(|weekday| (weekday, "L")));
    if let Some((weekday, nth)) = nth {
        let right = number(weekday) % 7 == day.weekday;
        return right
            && match nth {
                "L" => day.day + 7 > day.last,
                nth => (day.day - 1) / 7 + 1 == number(nth),
            };
    }
    // A Sunday is both.
    plain(item, day.weekday, 0, 6) || (day.weekday == 0 && item != "*" && !item.starts_with("*/") && plain(item, 7, 0, 7))
}

/// A part of numbers and names, ranges, steps and lists.
fn plain(part: &str, value: i64, low: i64, high: i64) -> bool {
    part.split(',').any(|item| {
        let (range, step) = item.split_once('/').map_or((item, 1), |(range, step)| (range, number(step)));
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (number(first), if last == "SUN" { 7 } else { number(last) }),
            None if range == "*" => (low, high),
            None => (number(range), number(range)),
        };
        (first..=last).contains(&value) && (value - first) % step == 0
    })
}

fn number(text: &str) -> i64 {
    const NAMES: [&str; 19] = [
        "SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP",
        "OCT", "NOV", "DEC",
    ];
    match NAMES.iter().position(|name| *name == text) {
        Some(index) if index < 7 => index as i64,
        Some(index) => index as i64 - 6,
        None => text.parse().unwrap(),
    }
}
