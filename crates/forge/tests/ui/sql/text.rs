use forge::prelude::*;

fn main() {
    let id = Uuid::nil();
    drop(sql!("SELECT {}"));
    drop(sql!("SELECT $1", id));
    drop(sql!("SELECT * FROM t WHERE id = $1"));
    drop(sql!("SELECT {id"));
    drop(sql!("SELECT id}"));
    drop(sql!("SELECT 'it"));
    drop(sql!("SELECT {id.to_string()}"));
    drop(sql!("SELECT {id as i32}"));
    drop(sql!("SELECT {id::text}"));
    drop(sql!("SELECT {id: }"));
    drop(sql!("SELECT {id: Uuid}, {id: i32}"));
    drop(sql!("DELETE FROM a; DELETE FROM b"));
    drop(sql!(""));
    drop(sql!(
        "SELECT *
           FROM cards
          WHERE id = {} AND title = $2"
    ));
}
