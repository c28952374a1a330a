use forge::testing::TestApp;

#[forge::test]
fn not_async(_app: TestApp) {}

#[forge::test(flavor = "x")]
#[test]
async fn two(_app: TestApp, _other: i32) {}

fn main() {}
