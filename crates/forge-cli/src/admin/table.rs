//! Tables for people.

use serde_json::Value;

use crate::voice;

/// Columns as wide as what is in them.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..headings.len())
        .map(|at| {
            let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
            cells.chain([headings[at].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let line = |cells: Vec<&str>| {
        let cells: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    let mut lines = vec![voice::bold(&line(headings.to_vec()))];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// A value as a cell: nothing is a hyphen, and no line is broken.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => one_line(text),
        Value::Array(items) if items.is_empty() => "-".into(),
        Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A time, to the second.
pub(super) fn time(value: &Value) -> String {
    match value.as_str() {
        Some(text) if text.len() >= 19 && text.is_ascii() => format!("{} {}Z", &text[..10], &text[11..19]),
        _ => cell(value),
    }
}

/// Seconds, with the unit that fits.
pub(super) fn seconds(value: &Value) -> String {
    match value.as_f64() {
        Some(seconds) if seconds < 0.0 => "now".into(),
        Some(seconds) if seconds < 120.0 => format!("{seconds:.0}s"),
        Some(seconds) if seconds < 7200.0 => format!("{:.0}m", seconds / 60.0),
        Some(seconds) if seconds < 172_800.0 => format!("{:.0}h", seconds / 3600.0),
        Some(seconds) => format!("{:.0}d", seconds / 86_400.0),
        None => "-".into(),
    }
}

/// What jobs or apps say may have anything in it: nothing of it moves the cursor.
fn one_line(text: &str) -> String {
    const MOST: usize = 120;
    let mut line: String = text.chars().take(MOST).map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().count() > MOST {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_stands_in_cells() {
        assert_eq!(time(&json!("2026-01-31T12:00:05.123456Z")), "2026-01-31 12:00:05Z");
        assert_eq!(time(&Value::Null), "-");
        assert_eq!([2.4, 300.0, 7300.0, 1e6, -3.0].map(|n| seconds(&json!(n))), ["2s", "5m", "2h", "12d", "now"]);
        assert_eq!(cell(&json!("a\x1b[2J\nb")), "a [2J b");
        assert_eq!(cell(&json!(["a", "b"])), "a,b");
        assert_eq!(cell(&json!("x".repeat(200))).chars().count(), 121);
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let text = table(&["A", "LONG"], &[vec!["wide".into(), "x".into()], vec!["y".into(), String::new()]]);
        let plain = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(plain, "A     LONG\nwide  x\ny");
    }
}
