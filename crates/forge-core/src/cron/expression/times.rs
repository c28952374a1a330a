//! What else says when a cron is due: how often, at which time of day, and by which zone's clocks.

use super::shortened;

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
