use forge::prelude::*;

struct Hash;

#[forge::model]
struct User {
    #[id]
    #[private]
    id: Uuid,
    #[private]
    #[serde(rename = "pass")]
    password: String,
    #[private = true]
    notes: String,
    #[privat]
    other: String,
}

#[forge::forge_enum]
enum Level {
    Low,
    High,
}

#[forge::model]
struct Ranked {
    #[id]
    id: Uuid,
    #[private]
    level: Level,
}

#[forge::input]
struct NewUser {
    #[private]
    password: String,
}

fn main() {
    let _ = Hash;
}
