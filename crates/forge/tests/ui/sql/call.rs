use forge::prelude::*;

const TEXT: &str = "SELECT 1";

fn main() {
    drop(sql!());
    drop(sql!(i32));
    drop(sql!(i32, TEXT));
    drop(sql!(i32, concat!("SELECT", "1")));
    drop(sql!("SELECT 1" "SELECT 2"));
}
