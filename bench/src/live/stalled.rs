//! One client who does not read, among a thousand who do.

use std::net::TcpStream;
use std::time::Duration;

use super::audience::{Audience, Meter};
use super::figures::Figures;
use super::node::{Node, Sink};
use super::socket::{self, Door};
use super::writers::Paced;
use super::{LISTS, ROUNDS};
use crate::report::{Aim, Spread};
use crate::{Result, cpu};

/// What the system keeps for a client that does not read, so that it is soon full.
const BUFFER: usize = 4096;

/// The others' latencies with such a client, and without, in turn; and what the node's memory does meanwhile.
pub(super) fn measure(sink: Sink, node: &Node, audience: &mut Audience, meter: Meter, figures: &mut Figures) -> Result<()> {
    let pace = Paced { per_second: 100, connections: 1, lasting: Duration::from_secs(2), table: "todo" };
    let (mut ratios, mut grown) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let without = audience.watch(node.url(), pace, meter)?;
        let stalled = stall(node.door())?;
        let before = cpu::resident_bytes(node.pid())?;
        let with = audience.watch(node.url(), pace, meter)?;
        grown.push(cpu::resident_bytes(node.pid())?.saturating_sub(before) as f64);
        drop(stalled);
        ratios.push(with.verdict.quantile_ms(0.99) / without.verdict.quantile_ms(0.99));
        figures.wrong(&without.verdict);
        figures.wrong(&with.verdict);
    }
    figures.add(sink, "stalled_p99", Spread::of(ratios.into_iter()), Aim::AtMost(1.1))?;
    figures.add(sink, "stalled_grown_bytes", Spread::of(grown.into_iter()), Aim::AtMost(1024.0 * 1024.0))
}

/// Subscribes to all lists, whose first results alone are more than there is room for.
fn stall(door: Door) -> Result<TcpStream> {
    use std::io::Write as _;
    let (mut stream, _) = door.open()?;
    rustix::net::sockopt::set_socket_recv_buffer_size(&stream, BUFFER)?;
    let mut wishes = Vec::new();
    for list in 0..LISTS {
        let args = format!(r#"{{"listId":"{list}"}}"#);
        let wish = format!(r#"{{"type":"subscribe","id":{list},"function":"list_todos","args":{args}}}"#);
        socket::write_text(&mut wishes, wish.as_bytes());
    }
    stream.write_all(&wishes)?;
    Ok(stream)
}
