#[forge::input]
struct New {
    #[validate(length(min = "1"))]
    a: String,
    #[validate(length(min = 5, max = 1))]
    b: String,
    #[validate(range(min = 10, max = 1))]
    c: i32,
    #[validate(pattern = "(")]
    d: String,
    #[validate(email(strict))]
    e: String,
    #[validate]
    f: String,
    #[validate(custom(is_even))]
    g: i32,
    #[validate(range())]
    h: i32,
}

fn main() {}
