use forge::prelude::*;

struct NotARow;

struct NotAValue;

fn main() {
    let value = NotAValue;
    let number = 1_i32;
    drop(sql!(NotARow, "SELECT 1"));
    drop(sql!("SELECT {value}"));
    drop(sql!("SELECT {number: i64}"));
    drop(sql!("SELECT {missing}"));
    drop(sql!("SELECT {value: NotAValue}"));
}
