use super::*;

fn good(source: &str) -> (String, Vec<String>) {
    let statement = read(source).unwrap_or_else(|mistakes| panic!("{source}: {mistakes:?}"));
    let names = statement.captures.into_iter().map(|capture| match capture.ty {
        Some(ty) => format!("{}: {ty}", capture.place),
        None => capture.place,
    });
    (statement.text, names.collect())
}

fn bad(source: &str) -> String {
    read(source).unwrap_err().join("\n---\n")
}

#[test]
fn arguments_are_numbered_and_shared() {
    let (text, captures) = good("SELECT * FROM t WHERE a = {a} AND b = {input.b} AND c > {a} AND d = {id: Option<Uuid>}");
    assert_eq!(text, "SELECT * FROM t WHERE a = $1 AND b = $2 AND c > $1 AND d = $3");
    assert_eq!(captures, ["a", "input.b", "id: Option<Uuid>"]);
    assert_eq!(good("SELECT {self . r#type .0}").1, ["self.r#type.0"]);
}

#[test]
fn a_type_written_once_counts_for_all_uses() {
    assert_eq!(good("SELECT {a}, {a: i32}, { a }").1, ["a: i32"]);
    assert!(bad("SELECT {a: i64}, {a: i32}").contains("one argument with one type"));
}

#[test]
fn nothing_is_captured_inside_of_literals_names_and_comments() {
    for source in [
        "SELECT '{a} it''s' FROM t",
        r"SELECT E'\'{a}' FROM t",
        r"SELECT 'a\' || '{b}'",
        r#"SELECT "we{ird}""name" FROM t"#,
        "SELECT $$ {a} $1 $$",
        "SELECT $fn$ {a} $$ {b} $fn$",
        "SELECT 1 -- {a} ; it's",
        "SELECT 1 /* {a} /* ; */ ' */ + 1",
        "SELECT note$1 FROM t",
        "SELECT '{1,2}'::int[]",
    ] {
        let (text, captures) = good(source);
        assert_eq!(text, source);
        assert!(captures.is_empty(), "{source}");
    }
}

#[test]
fn braces_and_casts() {
    assert_eq!(good("SELECT {{ {a}::text }} FROM t").0, "SELECT { $1::text } FROM t");
}

#[test]
fn a_last_semicolon_is_left_out() {
    assert_eq!(good("SELECT 1; -- done\n").0, "SELECT 1 -- done\n");
    assert!(bad("DELETE FROM a; DELETE FROM b").contains("another one follows"));
}

#[test]
fn mistakes_are_shown_where_they_are() {
    for (source, expected) in [
        ("", "the statement is empty"),
        (" -- nothing\n ", "the statement is empty"),
        ("SELECT {}", "an argument has a name"),
        ("SELECT {0}", "captured by name"),
        ("SELECT {a", "is not closed"),
        ("SELECT {a {b}", "is not closed"),
        ("SELECT a}", "closes nothing"),
        ("SELECT $1", "instead of `$1`"),
        ("SELECT {id::text}", "stands outside"),
        ("SELECT {id:}", "stands outside"),
        ("SELECT {id: 5}", "stands outside"),
        ("SELECT {id as i32}", "a variable or a field"),
        ("SELECT {f()}", "a variable or a field"),
        ("SELECT {a.}", "a variable or a field"),
        ("SELECT {type}", "a variable or a field"),
        ("SELECT {a[0]}", "a variable or a field"),
        ("SELECT 'a", "this `'` is never closed"),
        ("SELECT $x$ a", "this `$x$` is never closed"),
        ("SELECT /* a", "this `/*` is never closed"),
    ] {
        let message = bad(source);
        assert!(message.contains(expected), "{source}: {message}");
    }
    assert_eq!(
        bad("SELECT *\n    FROM ä WHERE id = {}"),
        "an argument has a name: write `{name}`, with a variable of that name in scope\n\n    FROM ä WHERE id = {}\n                      ^^"
    );
}

#[test]
fn all_mistakes_are_found() {
    assert_eq!(read("SELECT {}, $1, }").unwrap_err().len(), 3);
}
