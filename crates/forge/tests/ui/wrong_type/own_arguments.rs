use forge::prelude::*;

#[forge::input]
struct SetTag(String);

#[forge::mutation]
async fn set_tag(_ctx: &MutationContext, tag: SetTag) -> Result<String> {
    Ok(tag.0)
}

fn main() {}
