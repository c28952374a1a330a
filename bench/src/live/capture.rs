//! What it costs writers that somebody follows a table.

use std::time::Duration;

use super::node::{Node, Sink};
use super::writers::Hammer;
use super::{ROUNDS, Stage};
use crate::live::audience::{Audience, Speech};
use crate::live::figures::Figures;
use crate::report::{Aim, Spread};
use crate::{Result, say};

const WRITERS: usize = 16;

/// Sixteen writers on a table that is followed, and on the same of a server that nobody follows, in turn. The one subscriber reads a list
/// that none of them writes to: what they pay for is that it is written down and read, not what a subscriber is told.
pub(super) fn measure(stage: &Stage, sink: Sink, figures: &mut Figures) -> Result<()> {
    say(&format!("\n{WRITERS} writers, {}", sink.name()))?;
    let node = Node::start(stage, sink)?;
    let mut subscriber = Audience::open(node.door(), 1, Speech::Forge)?;
    subscriber.subscribe()?;
    node.until_following()?;
    let ratio = |lists_each, name, on_name, aim: f64, figures: &mut Figures| {
        let hammer = Hammer {
            writers: WRITERS,
            lists_each,
            warm_up: Duration::from_millis(200),
            lasting: Duration::from_millis(800),
        };
        let (mut on, mut off) = (Vec::new(), Vec::new());
        for round in 0..ROUNDS {
            let mut turns = [(node.url(), &mut on), (stage.places.alone.as_str(), &mut off)];
            if round % 2 == 1 {
                turns.reverse();
            }
            for (url, rates) in turns {
                rates.push(hammer.begin(url).done()?);
            }
        }
        figures.add(sink, on_name, Spread::of(on.iter().copied()), Aim::None)?;
        let ratios = Spread::of(on.iter().zip(&off).map(|(on, off)| on / off));
        match name {
            Some(name) => figures.ratio(name, ratios, Aim::AtLeast(aim)),
            None => figures.add(sink, "capture_20_rows", ratios, Aim::AtLeast(aim)),
        }
    };
    let (name, aim) = match sink {
        Sink::Wal => ("capture_wal", 0.90),
        Sink::Changelog => ("capture_changelog", 0.72),
    };
    ratio(0, Some(name), "one_row_statements_s", aim, figures)?;
    ratio(1, None, "twenty_row_statements_s", 0.70, figures)
}
