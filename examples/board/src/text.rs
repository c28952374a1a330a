//! Rules for texts that people type.

/// A name or a title consists of more than blanks, on one line.
pub(crate) fn one_line(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be blank".into());
    }
    if text.chars().any(char::is_control) {
        return Err("must be one line of plain text".into());
    }
    Ok(())
}

/// A longer text may have several lines, and no other control characters.
pub(crate) fn plain(text: &str) -> Result<(), String> {
    if text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err("must be plain text".into());
    }
    Ok(())
}

/// A text that says something, in any number of lines.
pub(crate) fn said(text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be blank".into());
    }
    plain(text)
}

/// A text as far as it fits, with a sign that there is more.
pub(crate) fn shortened(text: &str, characters: usize) -> String {
    if text.chars().count() <= characters {
        return text.to_owned();
    }
    let kept: String = text.chars().take(characters.saturating_sub(1)).collect();
    format!("{}…", kept.trim_end())
}

/// A text as part of HTML.
pub(crate) fn in_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_line() {
        assert!(one_line("Buy milk").is_ok());
        assert!(one_line("Straße, 牛乳 🥛").is_ok());
        for text in ["", "   ", "\u{a0}", "two\nlines", "nul\0"] {
            assert!(one_line(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_text_in_html() {
        assert_eq!(in_html("<b>\"a\" & b</b>"), "&lt;b&gt;&quot;a&quot; &amp; b&lt;/b&gt;");
    }

    #[test]
    fn what_does_not_fit_is_cut_between_characters() {
        assert_eq!(shortened("牛乳 🥛", 4), "牛乳 🥛");
        assert_eq!(shortened("牛乳 🥛 と卵", 6), "牛乳 🥛…");
        assert_eq!(shortened("", 0), "");
    }

    #[test]
    fn what_is_plain() {
        assert!(plain("").is_ok());
        assert!(plain("two\nlines\twith a tab").is_ok());
        assert!(plain("a bell\u{7}").is_err());
        assert!(said(" \n ").is_err());
    }
}
