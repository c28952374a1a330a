#[forge::query(publik, timeout = "5x")]
#[retry = "3"]
fn everything<'a>(title: &'a str, number: &i32) {}

fn main() {}
