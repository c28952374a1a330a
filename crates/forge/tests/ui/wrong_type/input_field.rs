#[derive(Debug, Clone)]
struct Foreign;

#[forge::input]
struct New {
    value: Foreign,
}

fn main() {}
