//! Prepared statements without names, for connections through a pooler.
//!
//! A pooler that works by transaction gives every transaction another server process, and a statement that was prepared on one
//! has no meaning on the next; worse, names of several clients collide there. The driver knows only named statements. So its
//! messages are translated on their way: what it prepares is remembered here under its name, and whenever it is run, it is
//! prepared along with it, in the same round trip, as the statement without a name, which lives until the next one.
//!
//! ```text
//! driver:                       pooler:
//!   Parse s1, Describe s1 ──▶     Parse "", Describe ""          its description is remembered
//!   Bind s1, Execute      ──▶     Parse "", Describe "", Bind "", Execute
//!                         ◀──     (the answers to what was put in are taken out)
//! ```
//!
//! Promise: the driver notices no difference to a server of its own. A statement whose description has changed since it was
//! prepared fails as it would there (`cached plan must not change result type`), so the same second attempt follows.
//!
//! Not here: COPY and function calls of the old kind, which never go through a pool's connection.

use std::collections::{HashMap, VecDeque};
use std::io;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The largest message that is accepted: what PostgreSQL itself allows.
const MESSAGE_MAX: usize = 1 << 30;

/// What a connection's first message says when it is there to cancel.
const CANCEL: u32 = 80_877_102;

/// Translates the messages of one connection.
#[derive(Debug)]
pub(super) struct Translator {
    from_driver: BytesMut,
    from_server: BytesMut,
    /// The first message of a connection has no type.
    started: bool,
    cancels: bool,
    statements: HashMap<Bytes, Prepared>,
    /// Which of them the statement without a name is, within the batch that is being sent.
    current: Option<Bytes>,
    /// What was sent and not yet answered; each ends with a `ReadyForQuery`. The last one is being sent.
    batches: VecDeque<Batch>,
    process_id: Option<i32>,
}

/// A statement that the driver has prepared.
#[derive(Debug, Default)]
struct Prepared {
    /// Its text, with the zero behind it.
    text: Bytes,
    /// The types of its parameters, as the driver gave them, then as the server described them.
    parameters: Bytes,
    /// The columns of its result, as the server described them.
    columns: Option<Bytes>,
}

/// What is expected of the answers to one batch of messages.
#[derive(Debug, Default)]
struct Batch {
    parses: VecDeque<Parse>,
    describes: VecDeque<Describe>,
    /// Its answer is an error already, and the rest of it is left out.
    failed: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Parse {
    Drivers,
    /// Was put in; its answer is taken out.
    Ours,
}

#[derive(Debug)]
enum Describe {
    Drivers,
    /// The driver's, of a statement that is remembered.
    Learn(Bytes),
    /// Was put in, to see whether it is still the same.
    Compare(Bytes),
}

impl Translator {
    pub(super) fn new() -> Self {
        Self {
            from_driver: BytesMut::new(),
            from_server: BytesMut::new(),
            started: false,
            cancels: false,
            statements: HashMap::new(),
            current: None,
            // The start of the connection ends with a `ReadyForQuery` as well.
            batches: VecDeque::from([Batch::default(), Batch::default()]),
            process_id: None,
        }
    }

    /// Whether the connection was made to cancel what runs on another one.
    pub(super) fn cancels(&self) -> bool {
        self.cancels
    }

    /// The process id that was told at the start: the server's own, or whatever a pooler makes up.
    pub(super) fn process_id(&self) -> Option<i32> {
        self.process_id
    }

    /// Takes what the driver sends; writes what goes to the server.
    pub(super) fn send(&mut self, bytes: &[u8], out: &mut BytesMut) -> io::Result<()> {
        self.from_driver.extend_from_slice(bytes);
        if !self.started {
            let Some(length) = peek_length(&self.from_driver, 0)? else { return Ok(()) };
            let first = self.from_driver.split_to(length);
            self.cancels = first.get(4..8).is_some_and(|mut code| code.get_u32() == CANCEL);
            out.extend_from_slice(&first);
            self.started = true;
        }
        while let Some(length) = peek_length(&self.from_driver, 1)? {
            let message = self.from_driver.split_to(length + 1).freeze();
            self.send_message(message, out)?;
        }
        Ok(())
    }

    fn send_message(&mut self, message: Bytes, out: &mut BytesMut) -> io::Result<()> {
        let mut body = message.slice(5..);
        match message[0] {
            b'P' => {
                let name = take_text(&mut body)?;
                if name.is_empty() {
                    self.current = None;
                    self.last().parses.push_back(Parse::Drivers);
                } else {
                    let mut parameters = body.clone();
                    let text = take_text_with_end(&mut parameters)?;
                    self.statements.insert(name.clone(), Prepared { text, parameters, columns: None });
                    self.current = Some(name);
                    self.last().parses.push_back(Parse::Drivers);
                    return put(out, b'P', &[b"\0", &body]);
                }
            }
            b'D' if body.first() == Some(&b'S') => {
                body.advance(1);
                let name = take_text(&mut body)?;
                if name.is_empty() {
                    self.last().describes.push_back(Describe::Drivers);
                } else {
                    self.put_in(&name, out)?;
                    self.last().describes.push_back(Describe::Learn(name));
                    return put(out, b'D', &[b"S\0"]);
                }
            }
            b'D' => self.last().describes.push_back(Describe::Drivers),
            b'B' => {
                let portal = take_text_with_end(&mut body)?;
                let name = take_text(&mut body)?;
                if !name.is_empty() {
                    if self.put_in(&name, out)? {
                        self.last().describes.push_back(Describe::Compare(name));
                        put(out, b'D', &[b"S\0"])?;
                    }
                    return put(out, b'B', &[&portal, b"\0", &body]);
                }
            }
            b'C' if body.first() == Some(&b'S') => {
                body.advance(1);
                let name = take_text(&mut body)?;
                self.statements.remove(&name);
                self.current = None;
                return put(out, b'C', &[b"S\0"]);
            }
            b'S' | b'Q' => {
                self.current = None;
                self.batches.push_back(Batch::default());
            }
            _ => {}
        }
        out.extend_from_slice(&message);
        Ok(())
    }

    /// Makes the statement of this name the one without a name, unless it is. Returns whether that had to be done.
    fn put_in(&mut self, name: &Bytes, out: &mut BytesMut) -> io::Result<bool> {
        if self.current.as_ref() == Some(name) {
            return Ok(false);
        }
        let Some(prepared) = self.statements.get(name) else {
            return Err(broken("a statement is used that was not prepared"));
        };
        put(out, b'P', &[b"\0", &prepared.text, &prepared.parameters])?;
        self.current = Some(name.clone());
        self.last().parses.push_back(Parse::Ours);
        Ok(true)
    }

    fn last(&mut self) -> &mut Batch {
        if self.batches.is_empty() {
            self.batches.push_back(Batch::default());
        }
        let last = self.batches.len() - 1;
        &mut self.batches[last]
    }

    /// Takes what the server sends; writes what goes to the driver.
    pub(super) fn receive(&mut self, bytes: &[u8], out: &mut BytesMut) -> io::Result<()> {
        self.from_server.extend_from_slice(bytes);
        while let Some(length) = peek_length(&self.from_server, 1)? {
            let message = self.from_server.split_to(length + 1);
            self.receive_message(&message, out)?;
        }
        Ok(())
    }

    fn receive_message(&mut self, message: &[u8], out: &mut BytesMut) -> io::Result<()> {
        let body = &message[5..];
        // Notices, settings and notifications come at any time and belong to no batch.
        if matches!(message[0], b'N' | b'S' | b'A') {
            out.extend_from_slice(message);
            return Ok(());
        }
        if message[0] == b'Z' {
            self.batches.pop_front();
            out.extend_from_slice(message);
            return Ok(());
        }
        let Some(batch) = self.batches.front_mut() else {
            out.extend_from_slice(message);
            return Ok(());
        };
        if batch.failed {
            return Ok(());
        }
        match message[0] {
            b'K' => self.process_id = body.get(..4).map(|mut id| id.get_i32()),
            b'1' if batch.parses.pop_front() == Some(Parse::Ours) => return Ok(()),
            b't' => match batch.describes.front() {
                Some(Describe::Learn(name)) => {
                    if let Some(prepared) = self.statements.get_mut(name) {
                        prepared.parameters = Bytes::copy_from_slice(body);
                    }
                }
                Some(Describe::Compare(_)) => return Ok(()),
                Some(Describe::Drivers) | None => {}
            },
            b'T' | b'n' => match batch.describes.pop_front() {
                Some(Describe::Learn(name)) => {
                    if let Some(prepared) = self.statements.get_mut(&name) {
                        prepared.columns = Some(Bytes::copy_from_slice(message));
                    }
                }
                Some(Describe::Compare(name)) => {
                    let known = self.statements.get(&name).and_then(|prepared| prepared.columns.as_deref());
                    if known.is_none_or(|known| same_columns(known, message)) {
                        return Ok(());
                    }
                    batch.failed = true;
                    return put(out, b'E', &[CHANGED]);
                }
                Some(Describe::Drivers) | None => {}
            },
            // It could be prepared before and cannot now, so what it is about has changed: a table, a column, a type.
            b'E' if batch.parses.front() == Some(&Parse::Ours) && field(body, b'C').is_some_and(is_about_names) => {
                batch.failed = true;
                return put(out, b'E', &[CHANGED]);
            }
            _ => {}
        }
        out.extend_from_slice(message);
        Ok(())
    }
}

/// The error of a statement whose plan does not fit any more, as the server would send it.
const CHANGED: &[u8] = b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0RRevalidateCachedQuery\0\0";

/// Whether an error code says that a name or a type is not what the statement takes it for. In a transaction that has failed
/// already, nothing can be prepared, and that is another code.
fn is_about_names(code: &[u8]) -> bool {
    code.starts_with(b"42")
}

/// Whether two descriptions of a result are the same to whoever reads it. The server has run the statement by the time that this is
/// looked at, so nothing else may count: not which table a column is of, or where in it.
fn same_columns(known: &[u8], told: &[u8]) -> bool {
    known == told || columns(known).is_some_and(|known| columns(told) == Some(known))
}

/// The names and types of a result's columns; none when it has no columns.
fn columns(description: &[u8]) -> Option<Vec<(&[u8], u32)>> {
    let mut body = description.strip_prefix(b"T")?.get(4..)?;
    let count = body.try_get_u16().ok()?;
    let column = |_| {
        let end = body.iter().position(|byte| *byte == 0)?;
        let name = &body[..end];
        // Behind it: the table (4 bytes) and the column of it (2), the type (4), its size (2) and its modifier (4), the format (2).
        let mut about = body.get(end + 1..end + 19)?;
        body = &body[end + 19..];
        about.advance(6);
        Some((name, about.get_u32()))
    };
    (0..count).map(column).collect()
}

/// A field of an error.
fn field(mut body: &[u8], kind: u8) -> Option<&[u8]> {
    while let Some((&found, rest)) = body.split_first() {
        let end = rest.iter().position(|byte| *byte == 0)?;
        if found == kind {
            return Some(&rest[..end]);
        }
        body = &rest[end + 1..];
    }
    None
}

/// The length of the message at the start, when all of it is there; `skip` bytes precede its length, which counts itself.
fn peek_length(buffer: &BytesMut, skip: usize) -> io::Result<Option<usize>> {
    let Some(mut head) = buffer.get(skip..skip + 4) else { return Ok(None) };
    let length = head.get_u32() as usize;
    if !(4..=MESSAGE_MAX).contains(&length) {
        return Err(broken("a message has an impossible length"));
    }
    Ok((buffer.len() >= skip + length).then_some(length))
}

fn take_text_with_end(body: &mut Bytes) -> io::Result<Bytes> {
    let end = body.iter().position(|byte| *byte == 0).ok_or_else(|| broken("a text in a message has no end"))?;
    Ok(body.split_to(end + 1))
}

fn take_text(body: &mut Bytes) -> io::Result<Bytes> {
    let mut text = take_text_with_end(body)?;
    text.truncate(text.len() - 1);
    Ok(text)
}

/// Writes a message of these parts.
fn put(out: &mut BytesMut, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
    let length = 4 + parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(length).map_err(|_| broken("a message is too long"))?;
    out.put_u8(kind);
    out.put_u32(length);
    for part in parts {
        out.extend_from_slice(part);
    }
    Ok(())
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("between the driver and the pooler, {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of these parts.
    fn message(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
        let mut out = BytesMut::new();
        put(&mut out, kind, parts).unwrap();
        out.to_vec()
    }

    /// What comes out when this goes in byte by byte, as messages may be cut anywhere.
    fn sent(translator: &mut Translator, bytes: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        bytes.iter().for_each(|byte| translator.send(&[*byte], &mut out).unwrap());
        out
    }

    fn received(translator: &mut Translator, bytes: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        bytes.iter().for_each(|byte| translator.receive(&[*byte], &mut out).unwrap());
        out
    }

    const DONE: (u8, &[&[u8]]) = (b'Z', &[b"I"]);
    const PARAMETERS: &[u8] = b"\0\x01\0\0\0\x17";
    const EXECUTE: (u8, &[&[u8]]) = (b'E', &[b"\0\0\0\0\0"]);

    fn all(messages: &[(u8, &[&[u8]])]) -> Vec<u8> {
        messages.iter().flat_map(|(kind, parts)| message(*kind, parts)).collect()
    }

    /// A connection with `SELECT $1` prepared as `s7`, whose result has these columns.
    fn prepared(columns: &[u8]) -> Translator {
        let mut translator = Translator::new();
        let start = b"\0\0\0\x09\0\x03\0\0x";
        assert_eq!(sent(&mut translator, start), &start[..]);
        let hello = all(&[(b'R', &[b"\0\0\0\0"]), (b'K', &[b"\0\0\x10\0\0\0\0\0"]), DONE]);
        assert_eq!(received(&mut translator, &hello), &hello[..]);
        assert_eq!(translator.process_id(), Some(4096));

        let out = sent(&mut translator, &all(&[(b'P', &[b"s7\0SELECT $1\0\0\0"]), (b'D', &[b"Ss7\0"]), (b'S', &[])]));
        assert_eq!(out, &all(&[(b'P', &[b"\0SELECT $1\0\0\0"]), (b'D', &[b"S\0"]), (b'S', &[])])[..]);
        let answer = all(&[(b'1', &[]), (b't', &[PARAMETERS]), (b'T', &[columns]), DONE]);
        assert_eq!(received(&mut translator, &answer), &answer[..]);
        translator
    }

    /// Runs it, and checks what the server gets.
    fn run(translator: &mut Translator) {
        let out = sent(translator, &all(&[(b'B', &[b"\0s7\0rest"]), EXECUTE, (b'S', &[])]));
        let wanted: &[(u8, &[&[u8]])] =
            &[(b'P', &[b"\0SELECT $1\0", PARAMETERS]), (b'D', &[b"S\0"]), (b'B', &[b"\0\0rest"]), EXECUTE, (b'S', &[])];
        assert_eq!(out, &all(wanted)[..]);
    }

    #[test]
    fn a_statement_goes_along_whenever_it_is_run() {
        let mut translator = prepared(b"columns");
        for _ in 0..2 {
            run(&mut translator);
            let answer: &[(u8, &[&[u8]])] =
                &[(b'2', &[]), (b'N', &[b"a notice"]), (b'D', &[b"row"]), (b'C', &[b"SELECT 1\0"]), DONE];
            let mut from_server = all(&[(b'1', &[]), (b't', &[PARAMETERS]), (b'T', &[b"columns"])]);
            from_server.extend(all(answer));
            assert_eq!(received(&mut translator, &from_server), &all(answer)[..]);
        }
        // A closed one is forgotten.
        assert_eq!(sent(&mut translator, &message(b'C', &[b"Ss7\0"])), &message(b'C', &[b"S\0"])[..]);
        assert!(translator.send(&message(b'B', &[b"\0s7\0rest"]), &mut BytesMut::new()).is_err());
    }

    #[test]
    fn a_result_that_has_changed_is_an_error() {
        let mut translator = prepared(b"columns");
        run(&mut translator);
        let answer: &[(u8, &[&[u8]])] =
            &[(b'1', &[]), (b't', &[PARAMETERS]), (b'T', &[b"others"]), (b'2', &[]), (b'D', &[b"row"]), DONE];
        let told = all(&[(b'E', &[CHANGED]), DONE]);
        assert_eq!(received(&mut translator, &all(answer)), &told[..]);
    }

    /// A result of one column.
    fn column(table: u8, name: &[u8], kind: u8) -> Vec<u8> {
        let about = [0, 0, 0, table, 0, 1, 0, 0, 0, kind, 0, 4, 255, 255, 255, 255, 0, 1];
        [b"\0\x01", name, b"\0", &about[..]].concat()
    }

    #[test]
    fn a_result_is_the_same_whatever_table_it_comes_from() {
        for (columns, same) in [(column(2, b"n", 23), true), (column(1, b"m", 23), false), (column(1, b"n", 20), false)] {
            let mut translator = prepared(&column(1, b"n", 23));
            run(&mut translator);
            let answer: &[(u8, &[&[u8]])] = &[(b'2', &[]), (b'D', &[b"row"]), (b'C', &[b"SELECT 1\0"]), DONE];
            let mut from_server = all(&[(b'1', &[]), (b't', &[PARAMETERS]), (b'T', &[&columns])]);
            from_server.extend(all(answer));
            let told = if same { all(answer) } else { all(&[(b'E', &[CHANGED]), DONE]) };
            assert_eq!(received(&mut translator, &from_server), &told[..], "{columns:?}");
        }
    }

    #[test]
    fn a_statement_that_fits_no_more_is_the_same_error_and_others_stay() {
        let changed = all(&[(b'E', &[CHANGED]), DONE]);
        for (code, ours) in [("42703", true), ("25P02", false), ("57014", false)] {
            let mut translator = prepared(b"columns");
            run(&mut translator);
            let answer = all(&[(b'E', &[b"SERROR\0C", code.as_bytes(), b"\0Mno such column\0\0"]), DONE]);
            let told = if ours { &changed } else { &answer };
            assert_eq!(received(&mut translator, &answer), &told[..], "{code}");
        }
    }

    #[test]
    fn lengths_are_believed_within_reason() {
        for length in [3_u32, 0x7fff_ffff] {
            let mut translator = Translator::new();
            assert!(translator.send(&length.to_be_bytes(), &mut BytesMut::new()).is_err());
        }
    }
}
