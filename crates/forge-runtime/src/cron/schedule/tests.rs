//! Schedules against a second implementation: it knows nothing of cron libraries, walks over all minutes of ten years, turns each
//! into local time by its own calendar, and matches the parts by its own reading of them.

mod walk;

use super::*;
use walk::{Walk, ZONES};

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn schedule(expression: &str, zone: &str) -> CronSchedule {
    CronSchedule::parse(expression, zone).unwrap()
}

/// All times within a span, forwards and, in another way, backwards.
fn found(schedule: &CronSchedule, (from, to): (Timestamp, Timestamp)) -> Vec<Timestamp> {
    let forwards: Vec<Timestamp> = schedule.between(from, to).collect();
    let after = to + SignedDuration::from_nanos(1);
    let backwards = std::iter::successors(schedule.previous(after), |last| schedule.previous(*last));
    let mut backwards: Vec<Timestamp> = backwards.take_while(|moment| *moment > from).collect();
    backwards.reverse();
    assert_eq!(forwards, backwards, "{} in {}", schedule.expression(), schedule.timezone());
    forwards
}

fn compare(walk: &Walk, expression: &str, span: (Timestamp, Timestamp)) -> usize {
    let expected = walk.due(expression, span);
    let found = found(&schedule(expression, walk.zone), span);
    let differ = found.iter().zip(&expected).find(|(a, b)| a != b);
    assert!(
        found == expected,
        "`{expression}` in {}: {} found, {} expected, first difference {differ:?}",
        walk.zone,
        found.len(),
        expected.len()
    );
    expected.len()
}

/// A xorshift generator: the same numbers each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, low: u32, high: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        low + u32::try_from(self.0 % u64::from(high - low + 1)).unwrap()
    }

    fn one_of<'a>(&mut self, list: &[&'a str]) -> &'a str {
        list[self.roll(0, u32::try_from(list.len()).unwrap() - 1) as usize]
    }

    /// A part in one of the forms that may be written.
    fn part(&mut self, low: u32, high: u32) -> String {
        let first = self.roll(low, high);
        let last = self.roll(first, high);
        match self.roll(0, 5) {
            0 => "*".into(),
            1 => format!("*/{}", self.roll(2, (high - low).min(20))),
            2 if last - first >= 2 => format!("{first}-{last}/2"),
            3 => format!("{first}-{last}"),
            4 if last > first => format!("{first},{last}"),
            _ => first.to_string(),
        }
    }

    fn day_of_month(&mut self) -> String {
        match self.roll(0, 3) {
            0 => self.one_of(&["L", "LW", "1W", "15W", "31W", "29,30,31", "29", "31"]).into(),
            1 => "*".into(),
            _ => self.part(1, 28),
        }
    }

    fn day_of_week(&mut self) -> String {
        match self.roll(0, 4) {
            0 => self.one_of(&["MON#1", "SUN#2", "0#5", "5L", "SUNL", "6#L", "FRI-SUN", "7", "SAT,SUN", "MON-FRI"]).into(),
            1 => self.part(0, 6),
            _ => "*".into(),
        }
    }
}

#[test]
fn ten_years_in_six_zones() {
    const EXPRESSIONS: &[&str] = &[
        "0 9 * * 1-5",
        "30 2 * * *",
        "15 2 * * SUN",
        "0,30 1-3 * * *",
        "45 0 * * *",
        "0 0 29 2 *",
        "30 1 29 2 0",
        "0 0 13 * FRI",
        "5 2,3 L * *",
        "30 2 LW 3,10,11 *",
        "0 3 15W * *",
        "10 2 * * SUN#2",
        "0 2 * 3,10 SUNL",
        "59 23 31 12 *",
        "20 0-4/2 */9 * 6",
        "30 45 1 * MAR-NOV SAT-SUN",
    ];
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut times = 0;
    for zone in ZONES {
        let walk = Walk::new(zone);
        for expression in EXPRESSIONS {
            times += compare(&walk, expression, walk.span());
        }
        for _ in 0..12 {
            let (minute, hour) = (dice.roll(0, 59), dice.part(0, 4));
            let expression = format!("{minute} {hour} {} {} {}", dice.day_of_month(), dice.part(1, 12), dice.day_of_week());
            if expression::normalise(&expression).is_ok() {
                times += compare(&walk, &expression, walk.span());
            }
        }
    }
    assert!(times > 100_000, "{times}");
}

#[test]
fn around_each_turn_of_the_clocks() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let (mut times, mut turns) = (0, 0);
    for zone in ZONES {
        let walk = Walk::new(zone);
        for turn in walk.turns() {
            turns += 1;
            let span = (turn - SignedDuration::from_hours(27), turn + SignedDuration::from_hours(27));
            times += compare(&walk, "*/5 * * * *", span);
            let second = dice.one_of(&["0", "*/20", "59", "7,8"]);
            let expression = format!("{second} {} {} * * *", dice.part(0, 59), dice.part(0, 4));
            times += compare(&walk, &expression, span);
        }
    }
    assert!(turns > 80 && times > 50_000, "{turns} {times}");
}

#[test]
fn a_search_may_begin_at_any_moment() {
    for zone in ["America/New_York", "Australia/Lord_Howe"] {
        let walk = Walk::new(zone);
        for turn in walk.turns().into_iter().take(4) {
            let (from, to) = (turn - SignedDuration::from_hours(3), turn + SignedDuration::from_hours(3));
            let expected =
                walk.due("*/10 * * * *", (from - SignedDuration::from_hours(2), to + SignedDuration::from_hours(2)));
            let schedule = schedule("*/10 * * * *", zone);
            let mut at = from;
            while at < to {
                for at in [at, at + SignedDuration::from_millis(1), at - SignedDuration::from_millis(1)] {
                    let next = expected.iter().copied().find(|due| *due > at);
                    assert_eq!(schedule.next(at), next, "after {at} in {zone}");
                    let last = expected.iter().copied().rev().find(|due| *due < at);
                    assert_eq!(schedule.previous(at), last, "before {at} in {zone}");
                }
                at += SignedDuration::from_mins(5);
            }
        }
    }
}

#[test]
fn what_does_not_exist_is_left_out_and_what_comes_twice_comes_once() {
    let berlin = schedule("30 2 * * *", "Europe/Berlin");
    let due = |from: &str, to: &str| found(&berlin, (moment(from), moment(to)));
    assert_eq!(
        due("2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z"),
        [moment("2026-03-28T01:30:00Z"), moment("2026-03-30T00:30:00Z")]
    );
    assert_eq!(
        due("2026-10-24T01:00:00Z", "2026-10-26T02:00:00Z"),
        [moment("2026-10-25T00:30:00Z"), moment("2026-10-26T01:30:00Z")]
    );
    // A day that never was: Samoa went from the 29th to the 31st of December 2011.
    let apia = schedule("0 12 * * *", "Pacific/Apia");
    assert_eq!(
        found(&apia, (moment("2011-12-29T00:00:00Z"), moment("2011-12-31T00:00:00Z"))),
        [moment("2011-12-29T22:00:00Z"), moment("2011-12-30T22:00:00Z")]
    );
}

#[test]
fn bounds_are_as_said() {
    let hourly = schedule("@hourly", "UTC");
    let (from, to) = (moment("2026-01-01T00:00:00Z"), moment("2026-01-01T02:00:00Z"));
    assert_eq!(hourly.between(from, to).collect::<Vec<_>>(), [moment("2026-01-01T01:00:00Z"), to]);
    assert_eq!(hourly.between(to, from).count(), 0);
    assert_eq!(hourly.next(from + SignedDuration::from_nanos(1)), Some(moment("2026-01-01T01:00:00Z")));
    assert_eq!(hourly.previous(from + SignedDuration::from_nanos(1)), Some(from));
    assert_eq!(hourly.previous(from), Some(moment("2025-12-31T23:00:00Z")));
    assert_eq!(hourly.next(Timestamp::MAX), None);
}

#[test]
fn short_ways_to_say_it() {
    let every = CronSchedule::every(Duration::from_secs(300)).unwrap();
    assert_eq!(every.next(moment("2026-01-01T00:07:00Z")), Some(moment("2026-01-01T00:10:00Z")));
    assert!(CronSchedule::every(Duration::from_nanos(300_000_000_001)).is_err());
    assert!(CronSchedule::every(Duration::MAX).is_err());
    let daily = CronSchedule::daily_at("09:00", "Asia/Kathmandu").unwrap();
    assert_eq!(daily.next(moment("2026-01-01T00:00:00Z")), Some(moment("2026-01-01T03:15:00Z")));
    assert_eq!((daily.expression(), daily.timezone()), ("0 0 9 * * *", "Asia/Kathmandu"));
    assert!(schedule("0 9 * * 1-5", "UTC").describe().contains("09:00"));
}

#[test]
fn mistakes_are_explained() {
    for (expression, zone, said) in [
        ("61 * * * *", "UTC", "its minute: 61 is not 0 to 59; did you mean `59`?"),
        ("* * *", "UTC", "3 parts"),
        ("@daily", "Europe/Berln", "did you mean `Europe/Berlin`?"),
        ("@daily", "europe berlin", "no name of a time zone"),
        ("@daily", "Mars/Olympus_Mons_Base", "there is no time zone `Mars/Olympus_Mons_Base`"),
    ] {
        let error = CronSchedule::parse(expression, zone).unwrap_err();
        assert_eq!(error.code(), "CRON_INVALID");
        assert!(error.message().contains(said), "{error}");
    }
}

#[test]
fn whatever_passes_the_check_is_understood() {
    let letters = [
        "*", "*/2", "0", "1", "5", "7", "12", "31", "1-5", "L", "LW", "3W", "MON", "JAN", "FRI#2", "5L", "?", ",", "-",
        "/", "#", "é",
    ];
    let mut dice = Dice(0xdead_beef_cafe_f00d);
    let mut understood = 0;
    for _ in 0..10_000 {
        let mut text = String::new();
        for part in 0..dice.roll(4, 7) {
            text.push_str(if part == 0 { "" } else { " " });
            // Mostly what fits, so that some fit as a whole.
            if dice.roll(0, 3) > 0 {
                text.push_str(dice.one_of(&letters[..6]));
                continue;
            }
            for _ in 0..=dice.roll(0, 4) / 3 {
                text.push_str(dice.one_of(&letters));
            }
        }
        match CronSchedule::parse(&text, "Europe/Berlin") {
            Ok(schedule) => {
                understood += 1;
                let next = schedule.next(moment("2026-01-01T00:00:00Z"));
                assert!(next.is_some(), "`{text}` is never due");
            }
            // Said by our own check, never by the library behind it.
            Err(error) => assert!(expression::normalise(&text).is_err(), "{error}"),
        }
    }
    assert!(understood > 100, "{understood}");
}
