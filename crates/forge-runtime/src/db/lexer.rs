//! Just enough of PostgreSQL's lexical rules to tell code from literals, quoted names and comments.
//!
//! Everything that must look into the text of a statement uses this: what a statement does, and where one ends.

/// A piece of a statement's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A word outside of quotes: a keyword, a name, a number's beginning.
    Word(&'a str),
    /// A semicolon.
    Semicolon,
    /// Anything else: an operator, a literal, a quoted name, a parameter.
    Other,
}

/// The tokens of a text with the position behind each; spaces and comments are left out.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (Token<'_>, usize)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            match bytes[at] {
                b'-' if bytes.get(at + 1) == Some(&b'-') => {
                    at = bytes[at..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |n| at + n);
                }
                b'/' if bytes.get(at + 1) == Some(&b'*') => at = after_comment(bytes, at),
                b'\'' => {
                    // In E'..' a backslash escapes; whether this is one is told by the word right before it.
                    let escapes =
                        start > 0 && matches!(bytes[start - 1], b'e' | b'E') && (start < 2 || !is_word(bytes[start - 2]));
                    at = after_quote(bytes, at, escapes);
                    return Some((Token::Other, at));
                }
                b'"' => {
                    at = after_quote(bytes, at, false);
                    return Some((Token::Other, at));
                }
                b'$' => {
                    at = after_dollar_quote(bytes, at);
                    return Some((Token::Other, at));
                }
                b';' => {
                    at += 1;
                    return Some((Token::Semicolon, at));
                }
                b if b.is_ascii_alphabetic() || b == b'_' || b >= 0x80 => {
                    while at < bytes.len() && (is_word(bytes[at]) || bytes[at] == b'$') {
                        at += 1;
                    }
                    return Some((Token::Word(&text[start..at]), at));
                }
                b if b.is_ascii_whitespace() => at += 1,
                _ => {
                    at += 1;
                    return Some((Token::Other, at));
                }
            }
        }
        None
    })
}

/// The first word of a text.
pub(crate) fn first_word(text: &str) -> Option<&str> {
    tokens(text).find_map(|(token, _)| match token {
        Token::Word(word) => Some(word),
        Token::Semicolon | Token::Other => None,
    })
}

/// The words of a text in lower case.
pub(crate) fn words(text: &str) -> Vec<String> {
    let word = |(token, _)| match token {
        Token::Word(word) => Some(word.to_ascii_lowercase()),
        Token::Semicolon | Token::Other => None,
    };
    tokens(text).filter_map(word).collect()
}

/// The statements of a script. A semicolon inside of a literal, a comment, a dollar-quoted body or a `BEGIN ATOMIC .. END`
/// body does not end one.
pub(crate) fn statements(script: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut start, mut any, mut atomic, mut case) = (0, false, false, 0_usize);
    let mut previous = String::new();
    for (token, end) in tokens(script) {
        match token {
            Token::Word(word) => {
                any = true;
                let word = word.to_ascii_lowercase();
                match word.as_str() {
                    "atomic" if previous == "begin" => atomic = true,
                    "case" if atomic => case += 1,
                    "end" if atomic && case > 0 => case -= 1,
                    "end" if atomic => atomic = false,
                    _ => {}
                }
                previous = word;
            }
            Token::Semicolon if !atomic => {
                if any {
                    found.push(script[start..end].trim());
                }
                (start, any) = (end, false);
                previous.clear();
            }
            Token::Semicolon | Token::Other => any = true,
        }
    }
    if any {
        found.push(script[start..].trim());
    }
    found
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

fn after_quote(bytes: &[u8], start: usize, escapes: bool) -> usize {
    let quote = bytes[start];
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if escapes => at += 1,
            b if b == quote && bytes.get(at + 1) == Some(&quote) => at += 1,
            b if b == quote => return at + 1,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

/// Comments nest.
fn after_comment(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0_usize, start);
    while at < bytes.len() {
        match (bytes[at], bytes.get(at + 1)) {
            (b'/', Some(b'*')) => (depth, at) = (depth + 1, at + 2),
            (b'*', Some(b'/')) if depth == 1 => return at + 2,
            (b'*', Some(b'/')) => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind `$tag$ .. $tag$`, or behind the dollar sign alone when it begins a parameter.
fn after_dollar_quote(bytes: &[u8], start: usize) -> usize {
    let tag_end = bytes[start + 1..].iter().position(|b| !is_word(*b)).map(|n| start + 1 + n);
    let Some(tag_end) = tag_end.filter(|end| bytes[*end] == b'$' && !bytes[start + 1].is_ascii_digit()) else {
        return start + 1;
    };
    let tag = &bytes[start..=tag_end];
    let body = tag_end + 1;
    bytes[body..].windows(tag.len()).position(|w| w == tag).map_or(bytes.len(), |n| body + n + tag.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_split_where_its_statements_end() {
        let script = r#"
            CREATE INDEX CONCURRENTLY a ON t (x); -- a; comment
            /* another; /* nested; */ one; */
            INSERT INTO t VALUES ('it''s; fine', E'back\'slash;', "q;", $$ body; $$, $tag$ $$ ; $tag$);
            CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END;
            ;
            SELECT 1"#;
        let found = statements(script);
        assert_eq!(found.len(), 4, "{found:#?}");
        assert!(found[0].starts_with("CREATE INDEX") && found[0].ends_with("(x);"));
        assert!(found[1].ends_with("$tag$);"));
        assert!(found[2].starts_with("CREATE FUNCTION") && found[2].ends_with("END;"));
        assert_eq!(found[3], "SELECT 1");
    }

    #[test]
    fn what_is_left_open_ends_with_the_text() {
        for text in ["'open", "\"open", "/* open", "$$ open", "$tag$ open $$", "e'\\", "$", "-- open", "é$"] {
            assert!(statements(text).len() <= 1, "{text}");
        }
    }
}
