//! How urgent a job is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How urgent a job is: a word, and the number that rows are ordered by. There are these five, so that a queue has few lanes.
///
/// Urgent jobs go first, and none waits for ever: the longer a job has waited, the more urgent it gets.
///
/// ```
/// use forge_core::job::Priority;
/// assert_eq!("high".parse(), Ok(Priority::High));
/// assert_eq!("75".parse(), Ok(Priority::High));
/// assert!(Priority::Critical > Priority::Background);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Priority {
    /// Whenever there is nothing else to do.
    Background = 0,
    /// May wait.
    Low = 25,
    /// What jobs have that say nothing.
    #[default]
    Normal = 50,
    /// Somebody waits for it.
    High = 75,
    /// Before everything else.
    Critical = 100,
}

impl Priority {
    /// All of them, the least urgent first.
    pub const ALL: [Self; 5] = [Self::Background, Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Background => "background",
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// Its number.
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// The one with this number, if there is one.
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.number() == number)
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Priority {
    type Err = String;

    /// Reads a word or a number.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = || text.parse().ok().and_then(Self::of_number);
        Self::ALL.into_iter().find(|priority| priority.as_str() == text).or_else(number).ok_or_else(|| {
            let known: Vec<String> = Self::ALL.iter().map(|one| format!("{one} ({})", one.number())).collect();
            format!("`{text}` is not a priority; there is {}", known.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_word_and_by_number() {
        for (word, number, priority) in [
            ("background", 0, Priority::Background),
            ("low", 25, Priority::Low),
            ("normal", 50, Priority::Normal),
            ("high", 75, Priority::High),
            ("critical", 100, Priority::Critical),
        ] {
            assert_eq!(word.parse(), Ok(priority));
            assert_eq!(number.to_string().parse(), Ok(priority));
            assert_eq!((priority.as_str(), priority.number()), (word, number));
            assert_eq!(Priority::of_number(number), Some(priority));
            assert_eq!(serde_json::to_string(&priority).unwrap(), format!("\"{word}\""));
        }
        assert!(Priority::ALL.is_sorted());
        assert_eq!(Priority::default(), Priority::Normal);
    }

    #[test]
    fn others_are_refused_and_the_five_are_named() {
        for text in ["", "High", "urgent", "51", "-1", "25.0", "99999999999"] {
            let why = text.parse::<Priority>().unwrap_err();
            assert!(why.contains("normal (50)") && why.contains("critical (100)"), "{why}");
        }
        assert_eq!(Priority::of_number(1), None);
    }
}
