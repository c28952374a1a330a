//! Reads the text of a statement: finds the captured arguments and leaves literals, names and comments alone.

/// A statement with its arguments taken out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement {
    /// The text for the database, with `$1`, `$2`, ...
    pub(super) text: String,
    /// What stands for `$1`, `$2`, ...; each only once.
    pub(super) captures: Vec<Capture>,
}

/// An argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Capture {
    /// The variable, or the path to a field of one.
    pub(super) place: String,
    /// The type, when it was written.
    pub(super) ty: Option<String>,
}

/// Reads a statement, or says everything that is wrong with it.
pub(super) fn read(source: &str) -> Result<Statement, Vec<String>> {
    let mut reader =
        Reader { source, at: 0, text: String::new(), captures: Vec::new(), mistakes: Vec::new(), ended: None, empty: true };
    while reader.at < source.len() {
        reader.step();
    }
    let Reader { text, captures, mut mistakes, empty, .. } = reader;
    if empty && mistakes.is_empty() {
        mistakes.push("the statement is empty".into());
    }
    if mistakes.is_empty() { Ok(Statement { text, captures }) } else { Err(mistakes) }
}

struct Reader<'a> {
    source: &'a str,
    at: usize,
    text: String,
    captures: Vec<Capture>,
    mistakes: Vec<String>,
    /// Where the `;` stands that ended the statement.
    ended: Option<usize>,
    /// Whether there was nothing but white space and comments.
    empty: bool,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        &self.source[self.at..]
    }

    /// Copies so many bytes as they are.
    fn copy(&mut self, length: usize) {
        self.text.push_str(&self.source[self.at..self.at + length]);
        self.at += length;
    }

    fn step(&mut self) {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return };
        if first.is_whitespace() {
            return self.copy(first.len_utf8());
        }
        if rest.starts_with("--") {
            return self.copy(rest.find('\n').unwrap_or(rest.len()));
        }
        if rest.starts_with("/*") {
            return self.block_comment();
        }
        if first == ';' {
            self.ended.get_or_insert(self.at);
            self.at += 1;
            return;
        }
        if let Some(end) = self.ended.take() {
            self.mistake(end, 1, "this `;` ends the statement, and another one follows: write one `sql!` for each");
            // Once is enough.
            self.at = self.source.len();
            return;
        }
        self.empty = false;
        match first {
            '\'' => self.quoted('\'', false),
            '"' => self.quoted('"', false),
            '$' => self.dollar(),
            '{' => self.open(),
            '}' => self.close(),
            c if c.is_alphabetic() || c == '_' => self.word(),
            c => self.copy(c.len_utf8()),
        }
    }

    /// A keyword or a name, with the prefix of `E'..'` recognised.
    fn word(&mut self) {
        let rest = self.rest();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let length = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let escapes = rest[..length].eq_ignore_ascii_case("e") && rest[length..].starts_with('\'');
        self.copy(length);
        if escapes {
            self.quoted('\'', true);
        }
    }

    /// A literal or a quoted name. A doubled quote is part of it.
    fn quoted(&mut self, quote: char, escapes: bool) {
        let start = self.at;
        let mut chars = self.rest().char_indices().skip(1).peekable();
        while let Some((index, c)) = chars.next() {
            if c == '\\' && escapes {
                chars.next();
            } else if c == quote {
                if chars.peek().is_some_and(|(_, next)| *next == quote) {
                    chars.next();
                } else {
                    return self.copy(index + 1);
                }
            }
        }
        self.unclosed(start, &quote.to_string());
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let bytes = self.rest().as_bytes();
        let (mut depth, mut index) = (0, 0);
        while index < bytes.len() {
            if bytes[index..].starts_with(b"/*") {
                depth += 1;
                index += 2;
            } else if bytes[index..].starts_with(b"*/") {
                depth -= 1;
                index += 2;
                if depth == 0 {
                    return self.copy(index);
                }
            } else {
                index += 1;
            }
        }
        self.unclosed(start, "/*");
    }

    /// `$1` (not ours), `$tag$ .. $tag$`, or a lone dollar, which the database will complain about.
    fn dollar(&mut self) {
        let start = self.at;
        let rest = self.rest();
        let after = &rest[1..];
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        if digits > 0 {
            self.mistake(
                start,
                digits + 1,
                &format!("arguments are captured by name: write `{{name}}` instead of `{}`", &rest[..=digits]),
            );
            return self.copy(digits + 1);
        }
        let tag = after.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(after.len());
        if !after[tag..].starts_with('$') {
            return self.copy(1);
        }
        let tag = &rest[..tag + 2];
        match rest[tag.len()..].find(tag) {
            Some(body) => self.copy(tag.len() + body + tag.len()),
            None => self.unclosed(start, tag),
        }
    }

    fn open(&mut self) {
        let start = self.at;
        let rest = self.rest();
        if rest.starts_with("{{") {
            self.text.push('{');
            self.at += 2;
            return;
        }
        let Some(length) = rest.find('}').filter(|end| !rest[1..*end].contains('{')) else {
            self.mistake(
                start,
                1,
                "this `{` is not closed: an argument is written `{name}`, and a brace that is part of the statement `{{`",
            );
            self.at += 1;
            return;
        };
        let inner = rest[1..length].trim();
        self.at += length + 1;
        // The first single colon separates the type; `::` belongs to a path.
        let (place, ty) = match inner.split_once(':') {
            Some((place, ty)) => (place.trim(), Some(ty.trim())),
            None => (inner, None),
        };
        if place.is_empty() {
            return self.mistake(
                start,
                length + 1,
                "an argument has a name: write `{name}`, with a variable of that name in scope",
            );
        }
        if place.bytes().all(|byte| byte.is_ascii_digit()) {
            return self.mistake(
                start,
                length + 1,
                "arguments are captured by name: write `{name}`, with a variable of that name in scope",
            );
        }
        let Some(place) = place_of(place) else {
            return self.mistake(
                start,
                length + 1,
                "an argument is a variable or a field of one, `{name}` or `{value.field}`; give anything else a name first, with `let`",
            );
        };
        if ty.is_some_and(|ty| syn::parse_str::<syn::Type>(ty).is_err() || ty.starts_with(':')) {
            return self.mistake(
                start,
                length + 1,
                "an argument with its type is written `{id: Uuid}`; a cast in SQL stands outside, as in `{id}::text`",
            );
        }
        self.capture(start, length + 1, place, ty);
    }

    fn capture(&mut self, start: usize, length: usize, place: String, ty: Option<&str>) {
        let known = self.captures.iter().position(|capture| capture.place == place);
        let number = match known {
            Some(index) => {
                let earlier = &mut self.captures[index].ty;
                match (earlier.as_deref(), ty) {
                    (Some(one), Some(other)) if one != other => {
                        let message =
                            format!("`{place}` is `{one}` before and `{other}` here: it is one argument with one type");
                        self.mistake(start, length, &message);
                    }
                    (None, Some(ty)) => *earlier = Some(ty.to_owned()),
                    _ => {}
                }
                index + 1
            }
            None => {
                self.captures.push(Capture { place, ty: ty.map(str::to_owned) });
                self.captures.len()
            }
        };
        self.text.push_str(&format!("${number}"));
    }

    fn close(&mut self) {
        if self.rest().starts_with("}}") {
            self.text.push('}');
            self.at += 2;
            return;
        }
        self.mistake(self.at, 1, "this `}` closes nothing: a brace that is part of the statement is written `}}`");
        self.at += 1;
    }

    fn unclosed(&mut self, start: usize, opening: &str) {
        self.mistake(start, opening.len(), &format!("this `{opening}` is never closed"));
        self.at = self.source.len();
    }

    /// Notes a mistake, with the line it is in and a mark below it: the compiler can only point at the whole literal.
    fn mistake(&mut self, at: usize, length: usize, message: &str) {
        let line_start = self.source[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.source[line_start..].lines().next().unwrap_or_default();
        let column = self.source[line_start..at].chars().count();
        let indent = line.chars().take_while(|c| c.is_whitespace()).count().min(column);
        let marked = self.source[at..].chars().take(length).take_while(|c| *c != '\n').count().max(1);
        let shown: String = line.chars().skip(indent).collect();
        self.mistakes.push(format!(
            "{message}\n\n    {}\n    {}{}",
            shown.trim_end(),
            " ".repeat(column - indent),
            "^".repeat(marked)
        ));
    }
}

/// A variable or a path to a field of one, written without spaces: something that outlives the statement's value.
fn place_of(text: &str) -> Option<String> {
    let mut parts = text.split('.').map(str::trim);
    let first = parts.next()?;
    let is_name = |part: &str| syn::parse_str::<syn::Ident>(part).is_ok();
    let is_index = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !(is_name(first) || first == "self") || !parts.all(|part| is_name(part) || is_index(part)) {
        return None;
    }
    Some(text.split('.').map(str::trim).collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests;
