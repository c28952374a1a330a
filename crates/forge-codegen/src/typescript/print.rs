//! Pieces of TypeScript: types, comments, lines that are broken when they are too long. Formatted the way that
//! prettier does, with single quotes and 100 columns.

use std::collections::BTreeSet;

use forge_core::validate::Rule;
use forge_core::wire::TypeRef;

use super::names::Names;

/// The longest line, in characters.
pub(super) const WIDTH: usize = 100;

/// Types that are text on the wire, under a name that says which. Written only when used, and not at all when the app
/// has a type of that name: then it is plain `string`.
pub(super) const TEXTS: &[(&str, &str)] = &[
    ("Base64", "Bytes, as base64 text with padding."),
    ("Decimal", "A decimal number of any precision."),
    ("Int64", "A whole number of 64 bits: JavaScript's own numbers are exact only up to 2^53."),
    ("PlainDate", "A calendar date: `2026-11-22`."),
    ("PlainTime", "A time of day: `19:36:46`."),
    ("Timestamp", "A moment: RFC 3339 text in UTC, `2026-11-22T19:36:46Z`."),
    ("Uuid", "A UUID, in lower case with hyphens."),
];

/// Writes types, and notes which names they use.
pub(super) struct Printer<'a> {
    names: &'a Names<'a>,
    /// The names from `types.ts` that were written.
    pub(super) used: BTreeSet<String>,
}

impl<'a> Printer<'a> {
    pub(super) fn new(names: &'a Names<'a>) -> Self {
        Self { names, used: BTreeSet::new() }
    }

    /// A type.
    pub(super) fn ty(&mut self, ty: &TypeRef) -> String {
        match ty {
            TypeRef::String | TypeRef::Secret => "string".into(),
            TypeRef::Bool => "boolean".into(),
            TypeRef::Int32 | TypeRef::Float => "number".into(),
            TypeRef::Int64 => self.text("Int64"),
            TypeRef::Decimal => self.text("Decimal"),
            TypeRef::Uuid => self.text("Uuid"),
            TypeRef::Timestamp => self.text("Timestamp"),
            TypeRef::Date => self.text("PlainDate"),
            TypeRef::Time => self.text("PlainTime"),
            TypeRef::Bytes => self.text("Base64"),
            TypeRef::Json => "unknown".into(),
            TypeRef::Null => "null".into(),
            TypeRef::Option { of } => match innermost(of) {
                // These have `null` among their values already.
                TypeRef::Json => "unknown".into(),
                TypeRef::Null => "null".into(),
                of => format!("{} | null", self.ty(of)),
            },
            TypeRef::List { of } => match (&**of, self.ty(of)) {
                (TypeRef::Option { .. }, item) if item.contains(" | ") => format!("({item})[]"),
                (_, item) => format!("{item}[]"),
            },
            TypeRef::Map { of } => format!("{{ [key: string]: {} }}", self.ty(of)),
            TypeRef::Tuple { of } => {
                let items: Vec<String> = of.iter().map(|item| self.ty(item)).collect();
                format!("[{}]", items.join(", "))
            }
            TypeRef::Named { name } => {
                let name = self.names.of_type(name);
                self.used.insert(name.to_owned());
                name.to_owned()
            }
        }
    }

    fn text(&mut self, name: &str) -> String {
        if self.names.is_taken(name) {
            return "string".into();
        }
        self.used.insert(name.to_owned());
        name.into()
    }
}

/// What is in an option of options.
fn innermost(mut ty: &TypeRef) -> &TypeRef {
    while let TypeRef::Option { of } = ty {
        ty = of;
    }
    ty
}

/// A doc comment with the indent of what follows it, or nothing when there is nothing to say.
pub(super) fn comment(indent: &str, lines: &[String]) -> String {
    let lines: Vec<&str> = lines.iter().flat_map(|text| text.lines()).map(str::trim_end).collect();
    let Some(first) = lines.iter().position(|line| !line.is_empty()) else {
        return String::new();
    };
    let last = lines.iter().rposition(|line| !line.is_empty()).unwrap_or(first);
    // Only the end of a comment can harm it.
    let lines: Vec<String> = lines[first..=last].iter().map(|line| line.replace("*/", "*\\/")).collect();
    if let [line] = &lines[..] {
        return format!("{indent}/** {} */\n", line.trim_start());
    }
    let body: String = lines.iter().map(|line| format!("{indent} * {line}").trim_end().to_owned() + "\n").collect();
    format!("{indent}/**\n{body}{indent} */\n")
}

/// What a rule asks for, for people who fill in a form. A function of the app's own says nothing here.
pub(super) fn rule(rule: &Rule) -> Option<String> {
    let bounds = |what: &str, min: Option<String>, max: Option<String>| match (min, max) {
        (Some(min), Some(max)) if min == max => Some(format!("{what}: {min}.")),
        (Some(min), Some(max)) => Some(format!("{what}: {min} to {max}.")),
        (Some(min), None) => Some(format!("{what}: at least {min}.")),
        (None, Some(max)) => Some(format!("{what}: at most {max}.")),
        (None, None) => None,
    };
    match rule {
        Rule::Length { min, max } => bounds("Length", min.map(|n| n.to_string()), max.map(|n| n.to_string())),
        Rule::Range { min, max } => bounds("Value", min.clone(), max.clone()),
        Rule::Email => Some("An e-mail address.".into()),
        Rule::Url => Some("An http or https URL.".into()),
        Rule::Pattern { regex } => Some(format!("Matches `{regex}`.")),
        Rule::Custom { .. } => None,
    }
}

/// Whether a line is short enough.
pub(super) fn fits(line: &str) -> bool {
    line.chars().count() <= WIDTH
}

/// An import or export of names from a file, on one line or on several.
pub(super) fn names_from<'n>(verb: &str, names: impl IntoIterator<Item = &'n str>, from: &str) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let line = format!("{verb} {{ {} }} from '{from}';\n", names.join(", "));
    if fits(line.trim_end()) {
        return line;
    }
    let list: String = names.iter().map(|name| format!("  {name},\n")).collect();
    format!("{verb} {{\n{list}}} from '{from}';\n")
}
