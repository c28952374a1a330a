#[forge::query(publik, timeout = "5x")]
#[cache = "30s"]
fn everything<'a>(title: &'a str, number: &i32) {}

fn main() {}
