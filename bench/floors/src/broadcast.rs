//! A raw broadcast: whatever one connection sends as a WebSocket text is sent to all others, as the same bytes, framed once.
//!
//! The least that telling many of something can cost with a task per connection: no library between, no encoding, no state. The handshake
//! does not look at what it is asked for.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast;

use crate::Result;

/// The answer to the key that the load client sends.
const AGREED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
                        sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

type Frame = std::sync::Arc<[u8]>;

pub(crate) async fn serve(port: u16) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (frames, _) = broadcast::channel::<Frame>(16);
    loop {
        let (stream, _) = listener.accept().await?;
        let frames = frames.clone();
        tokio::spawn(async move {
            // A client that goes away is none of the others' business.
            let _ = speak(stream, frames).await;
        });
    }
}

async fn speak(mut stream: TcpStream, frames: broadcast::Sender<Frame>) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let mut heard = frames.subscribe();
    stream.write_all(AGREED).await?;
    let mut incoming = Vec::new();
    loop {
        tokio::select! {
            frame = heard.recv() => stream.write_all(&frame?).await?,
            readable = stream.readable() => {
                readable?;
                match stream.try_read_buf(&mut incoming) {
                    Ok(0) => return Ok(()),
                    Ok(_) => {}
                    Err(why) if why.kind() == ErrorKind::WouldBlock => continue,
                    Err(why) => return Err(why.into()),
                }
                while let Some(text) = text(&mut incoming) {
                    // It fails when nobody else is there.
                    let _ = frames.send(framed(&text));
                }
            }
        }
    }
}

/// Takes a text of less than 64 kB, masked with zeros as the load client does, once all of it is there.
fn text(incoming: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (from, length) = match incoming.get(1)? & 0x7f {
        126 => (8, usize::from(u16::from_be_bytes(incoming.get(2..4)?.try_into().ok()?))),
        length => (6, usize::from(length)),
    };
    let text = incoming.get(from..from + length)?.to_vec();
    incoming.drain(..from + length);
    Some(text)
}

fn framed(text: &[u8]) -> Frame {
    let mut frame = vec![0x81];
    match text.len() {
        length @ ..126 => frame.push(length as u8),
        length => {
            frame.push(126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
    }
    frame.extend_from_slice(text);
    frame.into()
}
