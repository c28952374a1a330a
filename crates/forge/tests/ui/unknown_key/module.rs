forge::module!(migration = "sql");

fn main() {}
