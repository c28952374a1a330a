#[forge::job(queue = "Mail", priority = "urgent", retry(max_retries = 3, backof = "linear"), timeout = "5x", quee = "a")]
fn everything<'a>(title: &'a str, number: &i32) {}

#[forge::cron("61 * * * *", timezone = "Berlin time", overlap = "wait", catch_up_limit = 0)]
fn all_of_it(title: String) -> i32 {}

fn main() {}
