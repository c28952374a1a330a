//! When a cron is due.
//!
//! An expression speaks of a clock on a wall, so the search goes over local times; only what it finds becomes a moment. The clocks of
//! most zones are put forward and back, which leaves local times that never come, and others that come twice. Both are decided in one
//! place, [`CronSchedule::next`] with its mirror image [`CronSchedule::previous`]: what never comes is left out, what comes twice is
//! due at the first. (The library that searches would move the former and repeat some of the latter; it is given no zone, so that it
//! has no say in this.)

use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use forge_core::cron::expression;
use forge_core::{Error, Result};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp};

/// When a cron is due: an expression, read in a time zone.
///
/// ```
/// use forge_runtime::cron::CronSchedule;
/// use jiff::Timestamp;
///
/// let schedule = CronSchedule::parse("30 2 * * *", "Europe/Berlin")?;
/// // In the night to the 29th of March 2026 the clocks go from 2 to 3: half past two is left out.
/// let evening: Timestamp = "2026-03-28T20:00:00Z".parse()?;
/// assert_eq!(schedule.next(evening), Some("2026-03-30T00:30:00Z".parse()?));
/// # Ok::<(), forge_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct CronSchedule {
    cron: Cron,
    zone: TimeZone,
    expression: String,
    timezone: String,
}

impl CronSchedule {
    /// Reads an expression of five parts, or of six with the second before them, and the IANA name of a time zone. What may be
    /// written is said at [`expression::normalise`].
    ///
    /// # Errors
    /// `CRON_INVALID`: which part is wrong, what may stand there and what was probably meant; or that there is no such zone.
    pub fn parse(expression: &str, zone: &str) -> Result<Self> {
        let written = expression::normalise(expression).map_err(invalid)?;
        let parser = CronParser::builder().seconds(Seconds::Required).year(Year::Disallowed).build();
        let cron = parser.parse(&written).map_err(|why| invalid(format!("`{expression}` is no schedule: {why}")))?;
        Ok(Self { cron, zone: find_zone(zone)?, expression: expression.trim().to_owned(), timezone: zone.to_owned() })
    }

    /// Each time so much has passed, counted from midnight in UTC.
    ///
    /// # Errors
    /// `CRON_INVALID` when neither a minute, an hour nor a day consists of such pieces.
    pub fn every(period: Duration) -> Result<Self> {
        // What is longer than that is no piece of a day either.
        let milliseconds = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
        let whole = period.subsec_nanos().is_multiple_of(1_000_000);
        let milliseconds = if whole { milliseconds } else { 0 };
        Self::parse(&expression::every(milliseconds).map_err(invalid)?, "UTC")
    }

    /// Once a day, at a time such as `09:00` or `23:59:30`.
    ///
    /// # Errors
    /// `CRON_INVALID` when that is no time of day, or there is no such zone.
    pub fn daily_at(time: &str, zone: &str) -> Result<Self> {
        Self::parse(&expression::daily_at(time).map_err(invalid)?, zone)
    }

    /// The expression, as it was given.
    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The time zone, as it was given.
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// The expression in words, for people: "At 09:00, Monday through Friday".
    pub fn describe(&self) -> String {
        self.cron.pattern.describe()
    }

    /// The first time it is due after this moment, which is not meant itself. `None` when that is after the year 5000.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = match self.repeated(after) {
            // The second time of this hour, and all of it was due at the first.
            Some((_, end)) => (end, true),
            None => (self.zone.to_datetime(after), false),
        };
        loop {
            let found = self.cron.find_next_occurrence(&from, inclusive).ok()?;
            match self.moment(found) {
                Some(moment) => return Some(moment),
                None => (from, inclusive) = (self.gap(found)?.1, true),
            }
        }
    }

    /// The last time it was due before this moment, which is not meant itself. `None` when there was none since the year 1.
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let (mut from, mut inclusive) = match self.repeated(before) {
            Some((_, end)) => (end, false),
            // Of a second that has begun, the beginning lies before.
            None => (self.zone.to_datetime(before), before.subsec_nanosecond() != 0),
        };
        loop {
            let found = self.cron.find_previous_occurrence(&from, inclusive).ok()?;
            match self.moment(found) {
                Some(moment) => return Some(moment),
                None => (from, inclusive) = (self.gap(found)?.0, false),
            }
        }
    }

    /// All times it is due after the first moment, up to the second one, which is included: what is to be caught up since the last run.
    pub fn between(&self, after: Timestamp, until: Timestamp) -> impl Iterator<Item = Timestamp> {
        std::iter::successors(self.next(after), move |last| self.next(*last)).take_while(move |moment| *moment <= until)
    }

    /// When a local time comes, at first if it comes twice. `None` when it does not.
    fn moment(&self, local: DateTime) -> Option<Timestamp> {
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
                offset.to_timestamp(local).ok()
            }
            AmbiguousOffset::Gap { .. } => None,
        }
    }

    /// When the clocks show local times for the second time at this moment: the first and the end of those times.
    fn repeated(&self, moment: Timestamp) -> Option<(DateTime, DateTime)> {
        let local = self.zone.to_datetime(moment);
        match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { before, after } if self.zone.to_offset(moment) == after => {
                let turn = self.turn(moment)?;
                Some((after.to_datetime(turn), before.to_datetime(turn)))
            }
            _ => None,
        }
    }

    /// The beginning and the end of the local times that do not exist, of which this is one.
    fn gap(&self, local: DateTime) -> Option<(DateTime, DateTime)> {
        let ambiguous = self.zone.to_ambiguous_timestamp(local);
        let AmbiguousOffset::Gap { before, after } = ambiguous.offset() else { return None };
        // With the old offset, it comes after the clocks were turned.
        let turn = self.turn(before.to_timestamp(local).ok()?)?;
        Some((before.to_datetime(turn), after.to_datetime(turn)))
    }

    /// When the clocks were turned last, at this moment or before.
    fn turn(&self, moment: Timestamp) -> Option<Timestamp> {
        let just_after = moment.checked_add(SignedDuration::from_nanos(1)).ok()?;
        self.zone.preceding(just_after).next().map(|transition| transition.timestamp())
    }
}

fn find_zone(name: &str) -> Result<TimeZone> {
    expression::zone_name(name).map_err(invalid)?;
    TimeZone::get(name).map_err(|_| {
        let database = jiff::tz::db();
        let known: Vec<String> = database.available().map(|zone| zone.as_str().to_owned()).collect();
        if known.len() < 2 {
            return invalid(format!(
                "the time zone `{name}` is not known, as this machine has no time zone data: install the package `tzdata`, or use \"UTC\""
            ));
        }
        let likeness = |zone: &&String| (strsim::jaro_winkler(&name.to_lowercase(), &zone.to_lowercase()) * 1000.0) as u32;
        let near = known.iter().max_by_key(likeness).filter(|zone| likeness(zone) > 800);
        let hint = near.map(|zone| format!("; did you mean `{zone}`?")).unwrap_or_default();
        invalid(format!("there is no time zone `{name}`{hint}"))
    })
}

fn invalid(why: impl Into<String>) -> Error {
    Error::config("CRON_INVALID", why.into())
}

#[cfg(test)]
mod tests;
